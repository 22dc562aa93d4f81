-- The next tenant of that id finds none of this; a client_ref of the old one's would answer for a message that was never sent.
WITH gone AS (DELETE FROM api_keys WHERE tenant_id = %(tenant)s RETURNING tenant_id),
     listed AS (DELETE FROM whitelist WHERE tenant_id = %(tenant)s),
     refs AS (DELETE FROM idempotency_keys WHERE tenant_id = %(tenant)s),
     notes AS (DELETE FROM plugin_data WHERE tenant_id = %(tenant)s),
     links AS (DELETE FROM pair_links WHERE tenant_id = %(tenant)s),
     creds AS (DELETE FROM auth_creds WHERE tenant_id = %(tenant)s),
     keys AS (DELETE FROM auth_keys WHERE tenant_id = %(tenant)s)
SELECT tenant_id FROM gone
