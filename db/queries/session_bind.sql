-- session_bind
-- Numbers of devices are given again: whoever had this one has lost it.
WITH mine AS (
  SELECT tenant_id FROM sessions WHERE tenant_id = %(tenant)s AND process = %(process)s FOR UPDATE
), lost AS (
  UPDATE sessions s SET jid = NULL, lid = NULL, state = 'unpaired', since = clock_timestamp(), reason = 'its device is linked to another tenant now'
    FROM mine WHERE s.jid = %(jid)s AND s.tenant_id <> mine.tenant_id RETURNING s.tenant_id)
UPDATE sessions s SET jid = %(jid)s, lid = %(lid)s, push_name = %(push_name)s, sandbox = %(sandbox)s,
       number = split_part(%(jid)s, ':', 1), phone_last_seen = clock_timestamp(), phone_missed = false,
       refusals = CASE WHEN s.number = split_part(%(jid)s, ':', 1) THEN s.refusals ELSE 0 END
  FROM mine WHERE s.tenant_id = mine.tenant_id AND (SELECT count(*) FROM lost) >= 0 RETURNING s.tenant_id
