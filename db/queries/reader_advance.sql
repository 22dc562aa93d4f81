-- So far it was told; `ends`: it is not told on. No row: another process tells.
UPDATE event_readers SET seq = %(seq)s, at = clock_timestamp(), process = CASE WHEN %(ends)s THEN NULL ELSE process END
 WHERE tenant_id = %(tenant)s AND reader = %(reader)s AND process = %(process)s RETURNING 1
