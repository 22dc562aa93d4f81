DELETE FROM arrivals WHERE tenant_id = %s AND id = %s
