SELECT id::text, seq, type, tries, failures, time_left, is_dead, is_full
  FROM claim_callbacks_v1(%(tenant)s, %(endpoint)s, %(types)s, %(process)s, %(in_hand)s::uuid[], %(most)s)
