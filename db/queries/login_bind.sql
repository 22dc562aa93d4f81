INSERT INTO sessions AS s (tenant_id, jid, lid, number, sandbox, state, reason)
  SELECT %(tenant)s, %(jid)s, %(lid)s, split_part(%(jid)s, ':', 1), %(sandbox)s, 'disconnected', 'its login was found in the database'
   WHERE NOT EXISTS (SELECT FROM sessions o WHERE o.jid = %(jid)s AND o.tenant_id <> %(tenant)s)
     AND wa_link_problem_v1(%(tenant)s, %(jid)s) IS NULL
ON CONFLICT (tenant_id) DO UPDATE SET jid = EXCLUDED.jid, lid = EXCLUDED.lid, number = EXCLUDED.number, state = EXCLUDED.state,
       sandbox = CASE WHEN s.jid IS NULL THEN EXCLUDED.sandbox ELSE s.sandbox END, reason = EXCLUDED.reason, since = now() WHERE s.jid IS NULL OR s.jid = EXCLUDED.jid
RETURNING s.tenant_id
