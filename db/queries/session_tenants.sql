-- Who has a key, and what is known of the session.
SELECT a.tenant_id, s.jid IS NOT NULL, coalesce(s.state, 'unpaired'), s.process,
       coalesce(s.process IN (SELECT live_processes()) AND s.leased_until > now(), false), coalesce(s.sandbox, false)
  FROM api_keys a LEFT JOIN sessions s USING (tenant_id) ORDER BY a.tenant_id
