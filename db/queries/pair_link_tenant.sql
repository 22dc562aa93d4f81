SELECT p.tenant_id, p.force FROM pair_links p JOIN api_keys a USING (tenant_id) WHERE p.digest = %s AND p.expires_at > now()
