SELECT DISTINCT tenant_id FROM messages WHERE status = 'unknown' AND expires_at > now() AND tries < 8
