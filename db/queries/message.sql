SELECT id::text, status, recipient, kind, content, reply_to, mentions, client_ref, priority, answers, cause, created_at, send_at,
       expires_at, expected_at, sent_at, ahead, gap_ms, quota, waived, explanation, history, wa_id
  FROM messages WHERE tenant_id = %s AND id = %s::uuid
