WITH keys AS (DELETE FROM idempotency_keys WHERE message_id = ANY (%(ids)s::uuid[]))
SELECT id::text, tenant_id, recipient, at FROM drop_v1(%(ids)s::uuid[], 'expired', 'answered_503')
