SELECT coalesce((SELECT count FROM daily_limits WHERE tenant_id = %(tenant)s AND phone_number = %(to)s AND date = %(day)s), 0),
       (lists_of(jsonb_build_array(jsonb_build_array(%(tenant)s::text, %(to)s::text, 7))))[1]
