-- Who left a command that is an hour old waits for its answer no more.
WITH over AS (DELETE FROM commands WHERE deadline < now() - interval '1 hour'
), added AS (
  INSERT INTO commands (tenant_id, kind, arguments, deadline)
  VALUES (%(tenant)s, %(kind)s, %(arguments)s, now() + make_interval(secs => %(within)s)) RETURNING id)
SELECT id, pg_notify('gapura_commands', %(tenant)s) FROM added
