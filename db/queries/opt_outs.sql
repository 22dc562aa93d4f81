SELECT recipient, since, message_id, content, chat FROM opt_outs
 WHERE tenant_id = %(tenant)s AND back_at IS NULL AND (phone IS NULL OR recipient = phone) AND recipient > %(after)s
 ORDER BY recipient LIMIT %(most)s
