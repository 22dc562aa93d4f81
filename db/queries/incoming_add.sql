-- Once; it has arrived. The gateways that show a text to plugins wake; what is no text is not shown.
WITH arrived AS (DELETE FROM arrivals WHERE tenant_id = %(tenant)s AND id = %(id)s),
added AS (
  INSERT INTO incoming_messages (tenant_id, id, chat, sender, phone, lid, push_name, kind, content, at, backlog, reply_to, mentions,
                                 dispatched_at, replies)
  SELECT %(tenant)s, %(id)s, %(chat)s, %(sender)s, %(phone)s, %(lid)s, %(push_name)s, %(kind)s, %(content)s, %(at)s::timestamptz,
         %(backlog)s, %(reply_to)s, %(mentions)s::text[],
         CASE WHEN %(kind)s <> 'text' THEN clock_timestamp() END, CASE WHEN %(kind)s <> 'text' THEN '[]'::jsonb END
  ON CONFLICT DO NOTHING RETURNING id)
SELECT id, CASE WHEN %(kind)s = 'text' THEN pg_notify('gapura_incoming', '') END FROM added
