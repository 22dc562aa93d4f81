-- At most one attempt a minute: the seconds until the next, or null when this one counts.
WITH asked AS (
  INSERT INTO sessions AS s (tenant_id, asked_at) VALUES (%(tenant)s, now())
  ON CONFLICT (tenant_id) DO UPDATE SET asked_at = now()
     WHERE s.asked_at IS NULL OR s.asked_at < now() - make_interval(secs => %(pause)s)
  RETURNING 1)
SELECT CASE WHEN EXISTS (SELECT FROM asked) THEN NULL
            ELSE (SELECT extract(epoch FROM s.asked_at + make_interval(secs => %(pause)s) - now())::float8
                    FROM sessions s WHERE s.tenant_id = %(tenant)s) END
