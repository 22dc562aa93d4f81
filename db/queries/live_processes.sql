SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = process_class()::oid AND granted
