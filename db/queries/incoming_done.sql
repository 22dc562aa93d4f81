UPDATE incoming_messages SET dispatched_at = clock_timestamp(), replies = %s WHERE tenant_id = %s AND id = %s
