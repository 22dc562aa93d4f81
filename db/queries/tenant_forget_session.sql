-- Who gets the tenant's id next begins without a phone. Whoever holds the session hears of it, and unlinks the device if that can still be.
WITH gone AS (DELETE FROM sessions WHERE tenant_id = %(tenant)s RETURNING jid)
SELECT wa_remove_v1(jid), pg_notify('gapura_forgotten', %(tenant)s) FROM gone
