SELECT tenant_id, id, chat, sender FROM name_lost_v1(interval '30 seconds', interval '10 minutes')
