SELECT id::text, tenant_id, recipient, at
  FROM drop_v1(ARRAY(SELECT m.id FROM messages m
                      WHERE m.tenant_id = %(tenant)s AND m.recipient = ANY (addresses_of(%(tenant)s, %(known)s)) AND m.status = 'queued'
                        AND m.explanation @> '[{"decision": "deny", "when": ["opt_out"]}]'),
               'cancelled', 'opted_out')
