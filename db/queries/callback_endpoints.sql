-- How each endpoint fares that has ever been begun.
SELECT c.tenant_id, c.endpoint,
       (SELECT count(*) FROM callback_deliveries d WHERE d.tenant_id = c.tenant_id AND d.endpoint = c.endpoint AND d.status = 'pending'),
       (SELECT count(*) FROM callback_deliveries d WHERE d.tenant_id = c.tenant_id AND d.endpoint = c.endpoint AND d.status = 'dead'),
       c.failures, CASE WHEN c.rests_until > clock_timestamp() THEN c.rests_until END
  FROM callback_cursors c WHERE %(tenant)s::text IS NULL OR c.tenant_id = %(tenant)s ORDER BY 1, 2
