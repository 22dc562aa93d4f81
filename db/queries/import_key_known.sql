-- (whose key this is, whether the tenant has a key)
SELECT (SELECT a.tenant_id FROM api_keys a WHERE key_digest(a.api_key) = %(digest)s),
       EXISTS (SELECT FROM api_keys a WHERE a.tenant_id = %(tenant)s)
