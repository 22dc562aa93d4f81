SELECT key_id, key, uploaded FROM whatsmeow_pre_keys WHERE jid = %s ORDER BY key_id
