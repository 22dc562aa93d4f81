SELECT tenant_id, fence, jid, sandbox FROM lease_v1(%s, %s, make_interval(secs => %s))
