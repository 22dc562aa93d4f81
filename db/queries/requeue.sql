-- What failed for good is told to all gateways.
SELECT r.status, r.tenant_id, r.recipient, r.at,
       CASE WHEN r.status = 'failed' THEN pg_notify('gapura_status', json_build_object(
         'tenant_id', r.tenant_id, 'message_id', %(id)s::text, 'recipient', r.recipient, 'status', r.status, 'at', r.at,
         'cause', 'gave_up', 'process', %(process)s::integer)::text) END
  FROM requeue_v2(%(id)s, %(process)s, %(secret)s, %(cause)s, %(is_own)s, make_interval(secs => %(pause)s)) r
