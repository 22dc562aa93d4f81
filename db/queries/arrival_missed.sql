SELECT wa_missed_v1(%(tenant)s, %(id)s, %(chat)s, %(sender)s)
