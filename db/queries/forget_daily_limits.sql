-- Counters of days that ended at least this many days ago, some at a time. A tenant's day may be the server's tomorrow or yesterday.
WITH old AS (SELECT id FROM daily_limits WHERE date < current_date - %(days)s::integer LIMIT %(most)s FOR UPDATE SKIP LOCKED),
     gone AS (DELETE FROM daily_limits d USING old WHERE d.id = old.id RETURNING 1)
SELECT count(*)::integer FROM gone
