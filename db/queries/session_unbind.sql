-- The device is gone for good, and what the library may have left of it goes too.
WITH held AS (SELECT s.tenant_id, s.jid FROM sessions s WHERE s.tenant_id = %s AND s.process = %s FOR UPDATE)
UPDATE sessions s SET jid = NULL, lid = NULL FROM held h WHERE s.tenant_id = h.tenant_id RETURNING s.tenant_id, wa_remove_v1(h.jid)
