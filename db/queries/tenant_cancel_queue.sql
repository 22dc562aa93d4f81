SELECT count(*) FROM drop_v1(ARRAY(SELECT id FROM messages WHERE tenant_id = %s AND status = 'queued'), 'cancelled', 'tenant_removed')
