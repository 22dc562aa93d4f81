SELECT EXISTS (SELECT FROM incoming_messages WHERE tenant_id = %s AND chat = %s)
