-- Once; the gateways that show it to plugins wake.
WITH added AS (
  INSERT INTO incoming_messages (tenant_id, id, chat, sender, phone, lid, push_name, kind, content, at, backlog, reply_to, mentions)
  VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::text[]) ON CONFLICT DO NOTHING RETURNING id)
SELECT id, pg_notify('gapura_incoming', '') FROM added
