DELETE FROM whitelist WHERE tenant_id = %s AND phone_number = %s RETURNING phone_number
