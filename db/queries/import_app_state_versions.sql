INSERT INTO whatsmeow_app_state_version (jid, name, version, hash)
SELECT %(jid)s, * FROM unnest(%(name)s::text[], %(version)s::bigint[], %(hash)s::bytea[])
