-- Free connections for this role in this database, of how many, and the session processes that share them. Backends of which one may
-- not see the kind are counted as clients, so that there may be a few more than said.
WITH present AS (
  SELECT count(*) AS everywhere, count(*) FILTER (WHERE datname = current_database()) AS here,
         count(*) FILTER (WHERE usename = session_user) AS mine,
         count(*) FILTER (WHERE application_name = 'gapura-session-listener' AND datname = current_database()) AS processes
    FROM pg_stat_activity WHERE coalesce(backend_type, 'client backend') = 'client backend' AND datid IS NOT NULL
), limits AS (
  SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true)::int, 0) AS everywhere,
         (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = session_user) AS mine,
         (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()) AS here)
SELECT least(l.everywhere - p.everywhere, l.mine - p.mine, l.here - p.here)::int, least(l.everywhere, l.mine, l.here)::int, p.processes::int
  FROM present p, limits l
