-- What a WhatsApp id names in this tenant's messages: who wrote it (null: the tenant) and the text.
SELECT sender, content FROM incoming_messages WHERE tenant_id = %(tenant)s AND id = %(id)s
UNION ALL
SELECT NULL, content FROM messages WHERE tenant_id = %(tenant)s AND wa_id = %(id)s LIMIT 1
