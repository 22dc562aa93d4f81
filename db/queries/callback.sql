SELECT d.id::text, d.tenant_id, d.endpoint, d.seq, d.type, d.at, d.status, d.tries, CASE WHEN d.status = 'pending' THEN d.next_at END,
       d.last_try_at, d.last_status, d.last_error
  FROM callback_deliveries d WHERE d.id = %(id)s::uuid AND (%(tenant)s::text IS NULL OR d.tenant_id = %(tenant)s)
