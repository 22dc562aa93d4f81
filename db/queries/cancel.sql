WITH found AS (SELECT id, status FROM messages WHERE tenant_id = %(tenant)s AND id = %(id)s)
SELECT found.status, dropped.at, dropped.recipient
  FROM found LEFT JOIN LATERAL drop_v1(ARRAY[found.id], 'cancelled', NULL) dropped ON true
