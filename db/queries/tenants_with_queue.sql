SELECT tenant_id FROM lines WHERE waiting <> '{0,0,0,0,0,0}'
UNION
SELECT tenant_id FROM messages WHERE status = 'queued' AND NOT in_line AND send_at <= now()
