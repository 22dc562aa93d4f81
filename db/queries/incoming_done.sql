-- The plugins have seen it. What one of them answered in vain is an event.
WITH done AS (
  UPDATE incoming_messages SET dispatched_at = clock_timestamp(), replies = %s
   WHERE tenant_id = %s AND id = %s AND dispatched_at IS NULL RETURNING tenant_id, id, chat, replies)
SELECT tell_v1(array_agg(ROW(d.tenant_id, 0, 'message.reply_refused', NULL, d.chat, NULL, d.id, r)::events), true)
  FROM done d, jsonb_array_elements(d.replies) r WHERE r ? 'refused'
