SELECT k.fingerprint, k.message_id::text, coalesce(m.status, 'unknown'), m.expected_at, m.ahead,
       CASE WHEN m.quota_limit IS NOT NULL THEN 'daily_limit' END, m.quota_limit, m.quota_used, m.quota_resets_at, m.waived
  FROM idempotency_keys k LEFT JOIN messages m ON m.id = k.message_id AND m.tenant_id = k.tenant_id
 WHERE k.tenant_id = %s AND k.client_ref = %s
