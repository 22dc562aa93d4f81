SELECT their_id, identity FROM whatsmeow_identity_keys WHERE our_jid = %s ORDER BY their_id COLLATE "C"
