-- What stands against a login: the session's own row (made if there is none, locked), the device of the login that lives here (in whatsmeow's
-- tables, or, when those are gone, in auth_creds), and the other tenants' numbers.
WITH made AS (INSERT INTO sessions (tenant_id) VALUES (%(tenant)s) ON CONFLICT DO NOTHING),
     own AS (SELECT s.jid, s.process FROM sessions s WHERE s.tenant_id = %(tenant)s FOR UPDATE)
SELECT (SELECT o.jid FROM own o WHERE device_exists_v1(o.jid)),
       (SELECT c.data FROM auth_creds c WHERE c.tenant_id = %(tenant)s),
       EXISTS (SELECT FROM own o WHERE o.process IN (SELECT live_processes())),
       EXISTS (SELECT FROM sessions x WHERE x.tenant_id <> %(tenant)s AND split_part(x.jid, ':', 1) = %(number)s)
