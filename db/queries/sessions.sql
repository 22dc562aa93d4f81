-- One session, or all (null). A process that shows no sign of life holds nothing.
SELECT tenant_id, state, reason, since, jid, sandbox, process,
       coalesce(process IN (SELECT live_processes()) AND leased_until > now(), false), phone_last_seen, pairing
  FROM sessions WHERE tenant_id = %(tenant)s OR %(tenant)s IS NULL
