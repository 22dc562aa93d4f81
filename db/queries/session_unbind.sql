UPDATE sessions SET jid = NULL, lid = NULL WHERE tenant_id = %s AND process = %s RETURNING tenant_id
