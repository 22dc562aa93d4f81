SELECT tenant_id FROM api_keys
 WHERE api_key = %(digest)s OR (api_key !~ '^sha256:[0-9a-f]{64}$' AND key_digest(api_key) = %(digest)s)
