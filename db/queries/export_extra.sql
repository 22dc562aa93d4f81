SELECT extra FROM moved_in WHERE tenant_id = %(tenant)s AND jid = %(jid)s
