SELECT tenant_id, fence, jid, sandbox, taken_over FROM lease_v2(%s, %s, make_interval(secs => %s))
