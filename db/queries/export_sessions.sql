SELECT their_id, session FROM whatsmeow_sessions WHERE our_jid = %s ORDER BY their_id COLLATE "C"
