SELECT id::text, tenant_id, recipient, at FROM settle_orphans_v1(make_interval(secs => %s))
