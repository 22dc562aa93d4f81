SELECT d.id::text FROM callback_deliveries d
 WHERE d.status = 'dead' AND d.tenant_id = %(tenant)s AND (%(endpoint)s::text IS NULL OR d.endpoint = %(endpoint)s)
 ORDER BY d.seq LIMIT %(most)s
