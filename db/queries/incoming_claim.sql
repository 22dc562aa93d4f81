UPDATE incoming_messages i SET process = %(process)s
 WHERE (i.tenant_id, i.id) IN (
         SELECT w.tenant_id, w.id FROM incoming_messages w
          WHERE w.dispatched_at IS NULL AND (w.process IS NULL OR (w.process <> %(process)s AND NOT process_lives(w.process)))
          ORDER BY w.seq LIMIT 50 FOR UPDATE SKIP LOCKED)
RETURNING i.seq, i.tenant_id, i.id, i.chat, i.sender, i.phone, i.lid, i.push_name, i.kind, i.content, i.at, i.backlog
