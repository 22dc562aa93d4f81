SELECT r.tenant_id FROM event_readers r JOIN event_heads h USING (tenant_id) WHERE r.reader = %(reader)s AND h.last <> r.seq ORDER BY 1
