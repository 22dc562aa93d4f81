DELETE FROM event_readers WHERE tenant_id = %(tenant)s AND reader = %(reader)s
