SELECT id::text, recipient, kind, content, reply_to, mentions, client_ref, answers, priority, send_at, expires_at,
       extract(epoch FROM wake_at - clock_timestamp())::float8, secret
  FROM claim_v3(%s, %s, %s, %s)
