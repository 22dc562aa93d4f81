-- What became of a message; in the same statement all gateways hear of it.
SELECT r.at, pg_notify('gapura_status', json_build_object(
         'tenant_id', %(tenant)s::text, 'message_id', %(id)s::text, 'recipient', %(to)s::text, 'status', %(status)s::text, 'at', r.at,
         'cause', %(cause)s::text, 'process', %(process)s::integer)::text)
  FROM record_v1(%(id)s, %(status)s, %(cause)s, %(wa_id)s, %(returns)s) r
