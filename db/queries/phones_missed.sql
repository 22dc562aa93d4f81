SELECT tenant_id, phone_last_seen FROM phones_missed_v1(make_interval(secs => %s * 86400.0))
