SELECT at FROM record_v2(%(id)s, %(process)s, %(secret)s, %(status)s, %(cause)s, %(wa_id)s, %(returns)s)
