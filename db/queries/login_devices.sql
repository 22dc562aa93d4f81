-- With those that came with their rows alone, which nobody has opened yet; their jid is null when the creds are damaged.
SELECT d.tenant_id, d.jid, device_exists_v1(d.jid) FROM wa_devices d WHERE NOT d.forgotten
UNION ALL
SELECT tenant_id, jid, device_exists_v1(jid)
  FROM (SELECT c.tenant_id, substring(c.data FROM '"me" : \{"id" : "([0-9]+:[0-9]+@s\.whatsapp\.net)"') AS jid FROM auth_creds c
         WHERE c.data LIKE '{"format" : "whatsmeow"%' AND NOT EXISTS (SELECT FROM wa_devices d WHERE d.tenant_id = c.tenant_id)) alone
 WHERE NOT device_exists_v1(jid)
ORDER BY 1
