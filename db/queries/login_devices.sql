SELECT tenant_id, jid FROM wa_devices WHERE NOT forgotten ORDER BY 1
