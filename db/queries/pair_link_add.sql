INSERT INTO pair_links (digest, tenant_id, expires_at) VALUES (%s, %s, now() + make_interval(secs => %s)) RETURNING expires_at
