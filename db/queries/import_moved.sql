INSERT INTO moved_in AS m (tenant_id, batch, source, jid, extra) VALUES (%(tenant)s, %(batch)s, %(source)s, %(jid)s, %(extra)s)
    ON CONFLICT (tenant_id) DO UPDATE SET batch = EXCLUDED.batch, at = now(), source = EXCLUDED.source, jid = EXCLUDED.jid,
                                          extra = EXCLUDED.extra, connected_at = NULL
