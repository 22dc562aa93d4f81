SELECT backup_v1(%(batch)s, %(tenant)s, %(jid)s)
