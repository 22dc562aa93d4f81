SELECT id::text, status, recipient, kind, content, reply_to, mentions, client_ref, priority, answers, cause, created_at, send_at,
       expires_at, expected_at, sent_at, ahead, gap_ms, gaps, waived, explanation,
       jsonb_build_array(jsonb_build_object('status', 'queued', 'at', created_at)) || history, wa_id,
       CASE WHEN quota_limit IS NOT NULL THEN 'daily_limit' END, quota_limit, quota_used, quota_resets_at
  FROM messages WHERE tenant_id = %s AND id = %s::uuid
