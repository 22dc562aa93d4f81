-- One login moves at a time: two could be of one number, and both might make whatsmeow's tables.
SELECT pg_advisory_xact_lock(hashtextextended('gapura.moving_in', 0))
