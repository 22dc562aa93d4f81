INSERT INTO whatsmeow_privacy_tokens (our_jid, their_jid, token, timestamp, sender_timestamp)
SELECT %(jid)s, * FROM unnest(%(their_jid)s::text[], %(token)s::bytea[], %(timestamp)s::bigint[], %(sender_timestamp)s::bigint[])
