UPDATE sessions SET phone_last_seen = clock_timestamp(), phone_missed = false WHERE tenant_id = %s AND process = %s RETURNING tenant_id
