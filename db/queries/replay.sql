SELECT k.fingerprint, k.message_id::text, coalesce(m.status, 'unknown'), m.expected_at, m.ahead, m.quota, coalesce(m.waived, '{}')
  FROM idempotency_keys k LEFT JOIN messages m ON m.id = k.message_id AND m.tenant_id = k.tenant_id
 WHERE k.tenant_id = %s AND k.client_ref = %s
