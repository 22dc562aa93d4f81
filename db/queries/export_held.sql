SELECT EXISTS (SELECT FROM sessions WHERE tenant_id = %s AND process IN (SELECT live_processes()))
