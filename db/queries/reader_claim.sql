SELECT claim_reader_v1(%(tenant)s, %(reader)s, %(process)s, make_interval(secs => %(uptime)s))
