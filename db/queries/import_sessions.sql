INSERT INTO whatsmeow_sessions (our_jid, their_id, session)
SELECT %(jid)s, * FROM unnest(%(their_id)s::text[], %(session)s::bytea[])
