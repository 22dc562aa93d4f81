SELECT id::text FROM asked_again_v1(%(tenant)s, %(wa_ids)s, %(served)s::uuid[])
