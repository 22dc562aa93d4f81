-- Receipts, and what is news among them is told to all gateways. Returns the ids that are known.
SELECT r.wa_id, CASE WHEN r.is_news THEN pg_notify('gapura_status', json_build_object(
         'tenant_id', %(tenant)s::text, 'message_id', r.id::text, 'recipient', r.recipient, 'status', %(status)s::text, 'at', r.at,
         'cause', NULL::text, 'process', %(process)s::integer)::text) END
  FROM acked_v1(%(tenant)s, %(wa_ids)s, %(status)s) r
