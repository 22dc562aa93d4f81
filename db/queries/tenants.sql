SELECT a.tenant_id, a.created_at AT TIME ZONE 'UTC', coalesce(q.queued, 0)
  FROM api_keys a
  LEFT JOIN (SELECT tenant_id, count(*) AS queued FROM messages WHERE status = 'queued' GROUP BY tenant_id) q USING (tenant_id)
 ORDER BY a.tenant_id
