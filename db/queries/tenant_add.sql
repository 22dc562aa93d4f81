INSERT INTO api_keys (tenant_id, api_key) VALUES (%s, %s) ON CONFLICT (tenant_id) DO NOTHING RETURNING tenant_id
