SELECT id::text, tenant_id, recipient, status, cause, at FROM settle_v1(make_interval(secs => %s), %s)
