SELECT id::text, recipient, kind, content, reply_to, mentions, client_ref, answers, priority, send_at, expires_at,
       extract(epoch FROM wake_at - clock_timestamp())::float8
  FROM claim_v2(%s, %s)
