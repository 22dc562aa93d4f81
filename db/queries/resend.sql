SELECT id::text, tenant_id, recipient, at FROM resend_v1(%s)
