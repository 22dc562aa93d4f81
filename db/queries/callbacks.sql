-- Deliveries, newest event first. Whatever is null is not asked for.
SELECT d.id::text, d.tenant_id, d.endpoint, d.seq, d.type, d.at, d.status, d.tries, CASE WHEN d.status = 'pending' THEN d.next_at END,
       d.last_try_at, d.last_status, d.last_error
  FROM callback_deliveries d
 WHERE (%(tenant)s::text IS NULL OR d.tenant_id = %(tenant)s)
   AND (%(endpoint)s::text IS NULL OR d.endpoint = %(endpoint)s)
   AND (%(status)s::text IS NULL OR d.status = %(status)s)
   AND (%(after)s::uuid IS NULL
        OR (d.seq, d.endpoint) < (SELECT x.seq, x.endpoint FROM callback_deliveries x WHERE x.id = %(after)s AND x.tenant_id = %(tenant)s))
 ORDER BY d.tenant_id, d.seq DESC, d.endpoint DESC LIMIT %(most)s
