SELECT record_callback_v1(%(id)s, %(process)s, %(status)s, %(http_status)s, %(error)s, make_interval(secs => %(wait)s),
                          make_interval(secs => %(rest)s))
