UPDATE auth_creds SET data = %(data)s WHERE tenant_id = %(tenant)s
