-- Those that did not stand there.
INSERT INTO whitelist (tenant_id, phone_number) SELECT %(tenant)s, n FROM unnest(%(numbers)s::text[]) n ON CONFLICT DO NOTHING
RETURNING phone_number
