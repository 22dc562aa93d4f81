SELECT status, tenant_id, recipient, at
  FROM requeue_v2(%(id)s, %(process)s, %(secret)s, %(cause)s, %(is_own)s, make_interval(secs => %(pause)s))
