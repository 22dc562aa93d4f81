WITH over AS (DELETE FROM pair_links WHERE expires_at < now())
INSERT INTO pair_links (digest, tenant_id, force, expires_at) VALUES (%s, %s, %s, now() + make_interval(secs => %s)) RETURNING expires_at
