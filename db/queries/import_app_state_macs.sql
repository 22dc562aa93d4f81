INSERT INTO whatsmeow_app_state_mutation_macs (jid, name, version, index_mac, value_mac)
SELECT %(jid)s, * FROM unnest(%(name)s::text[], %(version)s::bigint[], %(index_mac)s::bytea[], %(value_mac)s::bytea[])
