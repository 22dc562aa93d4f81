INSERT INTO whatsmeow_app_state_sync_keys (jid, key_id, key_data, timestamp, fingerprint)
SELECT %(jid)s, * FROM unnest(%(key_id)s::bytea[], %(key_data)s::bytea[], %(timestamp)s::bigint[], %(fingerprint)s::bytea[])
