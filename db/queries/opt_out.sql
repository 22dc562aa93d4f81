SELECT opt_out_v1(%(tenant)s, %(known)s, %(id)s, %(content)s, %(chat)s, %(at)s)
