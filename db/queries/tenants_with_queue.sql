SELECT tenant_id FROM lines l
 WHERE EXISTS (SELECT FROM messages m WHERE m.tenant_id = l.tenant_id AND m.status = 'queued' AND m.send_at <= now())
