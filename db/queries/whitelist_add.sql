INSERT INTO whitelist (tenant_id, phone_number) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING phone_number
