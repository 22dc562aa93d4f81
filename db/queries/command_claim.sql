-- Commands that the caller can carry out: nobody else living holds the tenant's session.
UPDATE commands c SET process = %(process)s
 WHERE c.id IN (SELECT n.id FROM commands n LEFT JOIN sessions s USING (tenant_id)
                 WHERE n.process IS NULL AND n.deadline > now()
                   AND (s.process IS NULL OR s.process = ANY (%(children)s) OR s.leased_until < now()
                        OR s.process NOT IN (SELECT live_processes()))
                 ORDER BY n.id FOR UPDATE OF n SKIP LOCKED)
RETURNING c.id, c.tenant_id, c.kind, c.arguments
