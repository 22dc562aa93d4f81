-- The creds first, under no name.
SELECT NULL, (SELECT c.data FROM auth_creds c WHERE c.tenant_id = %(tenant)s)
UNION ALL
SELECT k.key, k.value FROM auth_keys k WHERE k.tenant_id = %(tenant)s
