SELECT coalesce((SELECT count FROM daily_limits WHERE tenant_id = %(tenant)s AND phone_number = %(to)s AND date = %(day)s), 0),
       (lists_of(ARRAY[%(tenant)s::text], ARRAY[1], ARRAY[%(to)s::text], ARRAY[7]))[1]
