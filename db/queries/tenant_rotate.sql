UPDATE api_keys SET api_key = %s, updated_at = CURRENT_TIMESTAMP WHERE tenant_id = %s RETURNING tenant_id
