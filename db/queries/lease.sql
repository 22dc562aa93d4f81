-- That WhatsApp refused new conversations a day ago says nothing any more.
SELECT l.tenant_id, l.fence, l.jid, l.sandbox, l.taken_over,
       CASE WHEN s.refused_until > clock_timestamp() - interval '1 day' THEN s.refusals ELSE 0 END,
       coalesce(greatest(extract(epoch FROM s.refused_until - clock_timestamp()), 0), 0)::double precision
  FROM lease_v2(%s, %s, make_interval(secs => %s)) l LEFT JOIN sessions s USING (tenant_id)
