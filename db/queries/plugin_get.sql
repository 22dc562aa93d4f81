SELECT value FROM plugin_data WHERE tenant_id = %s AND plugin = %s AND key = %s
