UPDATE sessions SET jid = %(jid)s, lid = %(lid)s, push_name = %(push_name)s, sandbox = %(sandbox)s
 WHERE tenant_id = %(tenant)s AND process = %(process)s RETURNING tenant_id
