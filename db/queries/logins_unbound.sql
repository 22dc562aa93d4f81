-- A login came with its rows alone: from another machine, or because the process that linked it died at once.
SELECT c.tenant_id, c.data FROM auth_creds c JOIN api_keys a USING (tenant_id)
 WHERE c.data LIKE '{"format" : "whatsmeow"%'
   AND NOT EXISTS (SELECT FROM sessions s WHERE s.tenant_id = c.tenant_id AND (s.jid IS NOT NULL OR s.process IN (SELECT live_processes())))
 ORDER BY 1
