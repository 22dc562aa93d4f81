WITH creds AS (DELETE FROM auth_creds WHERE tenant_id = %(tenant)s)
DELETE FROM auth_keys WHERE tenant_id = %(tenant)s
