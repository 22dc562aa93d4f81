SELECT key_digest(api_key), tenant_id FROM api_keys
