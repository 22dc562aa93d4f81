SELECT at FROM record_v1(%(id)s, %(status)s, %(cause)s, %(wa_id)s, %(returns)s)
