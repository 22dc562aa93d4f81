-- Receipts; returns the ids that are known.
SELECT wa_id FROM acked_v2(%(tenant)s, %(wa_ids)s, %(status)s)
