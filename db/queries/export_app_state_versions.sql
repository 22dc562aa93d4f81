SELECT name, version, hash FROM whatsmeow_app_state_version WHERE jid = %s ORDER BY name COLLATE "C"
