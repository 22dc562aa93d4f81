SELECT id::text FROM messages WHERE tenant_id = %(tenant)s AND id = ANY (%(ids)s::uuid[]) AND status NOT IN ('queued', 'sending')
