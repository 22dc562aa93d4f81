SELECT replies FROM incoming_messages WHERE tenant_id = %s AND id = %s AND dispatched_at IS NOT NULL
