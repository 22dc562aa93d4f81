INSERT INTO whatsmeow_pre_keys (jid, key_id, key, uploaded)
SELECT %(jid)s, * FROM unnest(%(key_id)s::int[], %(key)s::bytea[], %(uploaded)s::boolean[])
