SELECT tenant_id FROM api_keys WHERE key_digest(api_key) = %s
