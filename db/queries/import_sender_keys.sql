INSERT INTO whatsmeow_sender_keys (our_jid, chat_id, sender_id, sender_key)
SELECT %(jid)s, * FROM unnest(%(chat_id)s::text[], %(sender_id)s::text[], %(sender_key)s::bytea[])
