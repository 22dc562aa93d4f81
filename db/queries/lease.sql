SELECT tenant_id, fence, jid FROM lease_v1(%s, %s, make_interval(secs => %s))
