-- Of the present version of each only; of an index that was set more than once, what was said last.
SELECT DISTINCT ON (m.name COLLATE "C", m.index_mac) m.name, v.version, m.index_mac, m.value_mac
  FROM whatsmeow_app_state_mutation_macs m JOIN whatsmeow_app_state_version v USING (jid, name)
 WHERE m.jid = %s ORDER BY m.name COLLATE "C", m.index_mac, m.version DESC
