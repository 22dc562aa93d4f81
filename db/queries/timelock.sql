UPDATE sessions SET refusals = %(refusals)s, refused_until = clock_timestamp() + make_interval(secs => %(seconds)s)
 WHERE tenant_id = %(tenant)s AND process = %(process)s RETURNING tenant_id
