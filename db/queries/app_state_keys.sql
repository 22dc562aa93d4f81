SELECT EXISTS (SELECT FROM whatsmeow_app_state_sync_keys WHERE jid = %s)
