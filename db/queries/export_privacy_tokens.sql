SELECT their_jid, token, timestamp, sender_timestamp FROM whatsmeow_privacy_tokens WHERE our_jid = %s ORDER BY their_jid COLLATE "C"
