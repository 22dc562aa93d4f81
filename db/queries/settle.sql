-- Orphans are settled; what is news of them is told to all gateways.
SELECT s.id::text, s.tenant_id, s.recipient, s.status, s.cause, s.at,
       CASE WHEN s.status NOT IN ('sending', 'queued') THEN pg_notify('gapura_status', json_build_object(
         'tenant_id', s.tenant_id, 'message_id', s.id::text, 'recipient', s.recipient, 'status', s.status, 'at', s.at,
         'cause', s.cause, 'process', %(process)s::integer)::text) END
  FROM settle_v1(make_interval(secs => %(grace)s), %(tenant)s) s
