INSERT INTO whatsmeow_identity_keys (our_jid, their_id, identity)
SELECT %(jid)s, * FROM unnest(%(their_id)s::text[], %(identity)s::bytea[])
