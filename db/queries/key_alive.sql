SELECT 1 FROM api_keys WHERE tenant_id = %s AND key_digest(api_key) = %s
