-- The gateway hears of it and opens the session; until then it is not connected.
UPDATE sessions SET jid = %(jid)s, lid = %(lid)s, number = split_part(%(jid)s, ':', 1), push_name = %(push_name)s, sandbox = false,
                    state = 'disconnected', reason = 'moved in from the old gateway, not yet connected', since = clock_timestamp(),
                    pairing = NULL, process = NULL, leased_until = NULL
 WHERE tenant_id = %(tenant)s
