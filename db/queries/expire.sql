SELECT id::text, tenant_id, recipient, at
  FROM drop_v1(ARRAY(SELECT id FROM messages WHERE status = 'queued' AND expires_at <= now() ORDER BY expires_at LIMIT 1000),
               'expired', 'not_sent_in_time')
