SELECT opt_in_v1(%(tenant)s, %(known)s, %(id)s, %(content)s, %(at)s)
