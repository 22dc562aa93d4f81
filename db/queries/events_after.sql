-- A tenant's events after a number, as they are told; what is not of these types (LIKE patterns) is passed over. The first row has the
-- tenant's first and last number instead. Of a message's row is told what never changes; its id at WhatsApp is in `data` as it was when
-- the event happened (in events from before 0019 it is not).
WITH span AS MATERIALIZED (
  SELECT coalesce((SELECT last FROM event_heads WHERE tenant_id = %(tenant)s), 0) AS last,
         (SELECT min(seq) FROM events WHERE tenant_id = %(tenant)s) AS first),
page AS MATERIALIZED (
  SELECT e.* FROM events e
   WHERE e.tenant_id = %(tenant)s AND e.seq > %(after)s AND e.type LIKE ANY (%(types)s) ORDER BY e.seq LIMIT %(most)s)
SELECT last, NULL, NULL, NULL, NULL, jsonb_build_object('first', coalesce(first, last + 1)) FROM span
UNION ALL
(SELECT e.seq, e.type, e.at, e.chat, coalesce(e.outgoing::text, e.incoming),
        CASE WHEN e.outgoing IS NOT NULL THEN
               jsonb_strip_nulls(jsonb_build_object(
                 'id', e.outgoing, 'to', e.chat, 'kind', m.kind, 'client_ref', m.client_ref,
                 'status', CASE WHEN e.type = 'message.overdue' THEN 'sending' ELSE split_part(e.type, '.', 2) END,
                 'wa_id', CASE WHEN e.type <> 'message.queued' THEN m.wa_id END) || coalesce(e.data, '{}'))
             WHEN e.type = 'message.received' THEN
               jsonb_build_object(
                 'id', e.incoming, 'chat', e.chat, 'sender', i.sender, 'phone', i.phone, 'lid', i.lid, 'push_name', i.push_name, 'kind', i.kind,
                 'content', i.content, 'at', to_char(i.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                 'reply_to', i.reply_to, 'mentions', i.mentions, 'backlog', i.backlog)
             WHEN e.incoming IS NOT NULL THEN jsonb_build_object('id', e.incoming, 'chat', e.chat) || coalesce(e.data, '{}')
             ELSE coalesce(e.data, '{}') END
   FROM page e
   LEFT JOIN messages m ON m.id = e.outgoing
   LEFT JOIN incoming_messages i ON i.tenant_id = e.tenant_id AND i.id = e.incoming
  ORDER BY e.seq)
