SELECT phone_number FROM whitelist WHERE tenant_id = %s ORDER BY phone_number
