WITH answered AS (UPDATE commands SET answer = %(answer)s WHERE id = %(id)s RETURNING tenant_id)
SELECT pg_notify('gapura_commands', 'answered') FROM answered
