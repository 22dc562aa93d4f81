SELECT chat_id, sender_id, sender_key FROM whatsmeow_sender_keys WHERE our_jid = %s ORDER BY chat_id COLLATE "C", sender_id COLLATE "C"
