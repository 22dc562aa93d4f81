SELECT data FROM auth_creds WHERE tenant_id = %s
