INSERT INTO plugin_data (tenant_id, plugin, key, value) VALUES (%s, %s, %s, %s::jsonb)
ON CONFLICT (tenant_id, plugin, key) DO UPDATE SET value = excluded.value, updated_at = now()
