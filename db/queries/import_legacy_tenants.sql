-- Every row of auth_creds, and the tenants that have keys and no creds. C: the same order everywhere.
SELECT tenant_id, data FROM auth_creds
UNION ALL
SELECT DISTINCT k.tenant_id, NULL FROM auth_keys k WHERE NOT EXISTS (SELECT FROM auth_creds c WHERE c.tenant_id = k.tenant_id)
ORDER BY 1
