-- Neither another tenant's key nor another key of the tenant's is touched.
INSERT INTO api_keys (tenant_id, api_key) SELECT %(tenant)s, %(stored)s
 WHERE NOT EXISTS (SELECT FROM api_keys a WHERE key_digest(a.api_key) = %(digest)s) ON CONFLICT DO NOTHING RETURNING tenant_id
