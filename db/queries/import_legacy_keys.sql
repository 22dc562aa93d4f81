SELECT key, value FROM auth_keys WHERE tenant_id = %s
