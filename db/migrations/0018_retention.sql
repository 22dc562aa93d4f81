-- What is old goes, in bites, and what was a removed tenant's is not the next one's of its id.

-- Messages are found by their ids, which begin with the time (version 7): no index more for each one that is admitted. Only a bot's replies
-- have ids of another kind.
CREATE INDEX messages_replies ON messages (created_at) WHERE answers IS NOT NULL;
CREATE INDEX incoming_shown ON incoming_messages (received_at) WHERE dispatched_at IS NOT NULL;

-- Events are found by their numbers: the oldest that a tenant has is its first. (Of a table whose places are used again and again a BRIN
-- index tells nothing.)
DROP INDEX events_age;

-- Whoever deletes many rows takes this first: one at a time, so that nobody waits in a circle.
CREATE FUNCTION forget_alone() RETURNS void LANGUAGE sql VOLATILE AS 'SELECT pg_advisory_xact_lock(1734440056, 0)';

-- The smallest id that a message of that time can have.
CREATE FUNCTION first_id_of(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT rpad(lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;

-- When there was last news of a message. What was cancelled or expired says so in its history only.
CREATE FUNCTION last_news_of(m messages) RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT greatest(m.created_at, m.settled_at, (m.history #>> '{-1,at}')::timestamptz)
$$;

-- Messages of which there was no news since then go, with their attempts: at most `most`; how many went. Never one that may yet be sent.
CREATE FUNCTION forget_messages_v1(older_than interval, most integer) RETURNS integer LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  past timestamptz := now() - older_than;
  old uuid[];
BEGIN
  PERFORM forget_alone();
  old := ARRAY(SELECT m.id FROM messages m
                WHERE m.id < first_id_of(past) AND m.created_at < past AND m.status NOT IN ('queued', 'sending')
                  AND (m.status <> 'unknown' OR m.expires_at < now()) AND last_news_of(m) < past
                ORDER BY m.id LIMIT most FOR UPDATE SKIP LOCKED);
  old := old || ARRAY(SELECT m.id FROM messages m
                       WHERE m.answers IS NOT NULL AND m.created_at < past AND m.status NOT IN ('queued', 'sending')
                         AND (m.status <> 'unknown' OR m.expires_at < now()) AND last_news_of(m) < past AND m.id >= first_id_of(past)
                       ORDER BY m.created_at LIMIT most - cardinality(old) FOR UPDATE SKIP LOCKED);
  DELETE FROM attempts a WHERE a.message_id = ANY (old);
  DELETE FROM messages m WHERE m.id = ANY (old);
  RETURN cardinality(old);
END $$;

-- Incoming messages that came before then and were shown go, and those that nobody will be shown, as their tenant is gone: at most `most`
-- of each; how many went.
CREATE FUNCTION forget_incoming_v1(older_than interval, most integer) RETURNS integer LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  gone integer;
  orphans integer;
BEGIN
  PERFORM forget_alone();
  DELETE FROM incoming_messages i USING (
    SELECT x.tenant_id, x.id FROM incoming_messages x
     WHERE x.dispatched_at IS NOT NULL AND x.received_at < now() - older_than ORDER BY x.received_at LIMIT most FOR UPDATE SKIP LOCKED) old
   WHERE i.tenant_id = old.tenant_id AND i.id = old.id;
  GET DIAGNOSTICS gone = ROW_COUNT;
  DELETE FROM incoming_messages i USING (
    SELECT x.tenant_id, x.id FROM incoming_messages x
     WHERE x.dispatched_at IS NULL AND NOT EXISTS (SELECT FROM api_keys a WHERE a.tenant_id = x.tenant_id)
     ORDER BY x.seq LIMIT most FOR UPDATE SKIP LOCKED) lost
   WHERE i.tenant_id = lost.tenant_id AND i.id = lost.id;
  GET DIAGNOSTICS orphans = ROW_COUNT;
  RETURN gone + orphans;
END $$;

-- As before (0010), each tenant's oldest first: what is left has no hole at any moment.
CREATE OR REPLACE FUNCTION forget_events_v1(older_than interval, most integer) RETURNS integer LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
DECLARE
  past timestamptz := now() - older_than;
  behind record;
  young bigint;
  here integer;
  gone integer := 0;
BEGIN
  PERFORM forget_alone();
  FOR behind IN
    SELECT h.tenant_id, oldest.seq FROM event_heads h
     CROSS JOIN LATERAL (SELECT e.seq, e.at FROM events e WHERE e.tenant_id = h.tenant_id ORDER BY e.seq LIMIT 1) oldest
     WHERE oldest.at < past
  LOOP
    EXIT WHEN gone >= most;
    -- Up to the first that stays, also where a clock went back.
    young := (SELECT e.seq FROM events e
               WHERE e.tenant_id = behind.tenant_id AND e.seq BETWEEN behind.seq AND behind.seq + most - gone - 1 AND e.at >= past
               ORDER BY e.seq LIMIT 1);
    DELETE FROM events e WHERE e.tenant_id = behind.tenant_id AND e.seq < coalesce(young, behind.seq + most - gone);
    GET DIAGNOSTICS here = ROW_COUNT;
    gone := gone + here;
  END LOOP;
  RETURN gone;
END $$;

-- As before (0013), and alone.
CREATE OR REPLACE FUNCTION forget_callbacks_v1(older_than interval, most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  e record;
  alive integer[];
  gone integer;
BEGIN
  PERFORM forget_alone();
  alive := ARRAY(SELECT live_processes());
  FOR e IN SELECT DISTINCT d.tenant_id, d.endpoint FROM callback_deliveries d
            WHERE d.status = 'pending' AND d.until < now() - interval '24 hours'
              AND (d.process IS NULL OR d.process <> ALL (alive)) ORDER BY 1, 2 LOOP
    PERFORM FROM callback_cursors c WHERE c.tenant_id = e.tenant_id AND c.endpoint = e.endpoint FOR UPDATE;
    UPDATE callback_deliveries d
       SET status = 'dead', process = NULL, last_error = coalesce(d.last_error, 'nobody posts to this endpoint any more')
     WHERE d.tenant_id = e.tenant_id AND d.endpoint = e.endpoint AND d.status = 'pending'
       AND d.until < now() - interval '24 hours' AND (d.process IS NULL OR d.process <> ALL (alive));
    PERFORM order_callbacks(e.tenant_id, e.endpoint);
  END LOOP;
  DELETE FROM callback_deliveries d
   WHERE d.id IN (SELECT x.id FROM callback_deliveries x WHERE x.at < now() - older_than AND x.status <> 'pending' LIMIT most
                  FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END $$;

-- As before (0004), but nobody is shown what came for a tenant that is no more.
CREATE OR REPLACE FUNCTION claim_incoming_v1(by_process integer, in_hand bigint[], most integer) RETURNS SETOF incoming_messages
LANGUAGE sql VOLATILE AS $$
  SELECT pg_advisory_xact_lock(process_class(), 0);  -- one claims at a time
  WITH alive AS MATERIALIZED (SELECT live_processes() AS number)
  UPDATE incoming_messages i SET process = by_process
   WHERE (i.tenant_id, i.id) IN (
           SELECT w.tenant_id, w.id FROM incoming_messages w
            WHERE w.dispatched_at IS NULL AND w.seq <> ALL (in_hand)
              AND (w.process IS NULL OR w.process = by_process OR w.process NOT IN (SELECT number FROM alive))
              AND EXISTS (SELECT FROM api_keys a WHERE a.tenant_id = w.tenant_id)
              AND NOT EXISTS (SELECT FROM incoming_messages h
                               WHERE h.tenant_id = w.tenant_id AND h.dispatched_at IS NULL
                                 AND h.process <> by_process AND h.process IN (SELECT number FROM alive))
            ORDER BY w.seq LIMIT most)
  RETURNING i.*
$$;

-- Whoever gets a tenant's id finds nothing of what happened to an earlier one, and is shown nothing that was written to it. The numbers of
-- events go on, so that no cursor of the old tenant means anything to the next one.
-- Lock order: each endpoint's cursor before its deliveries, as whoever changes these does; an arrival before its incoming message, as
-- whoever writes that down does; and while those are deleted that wait to be shown, nobody claims some.
CREATE FUNCTION forget_tenant_v1(who text) RETURNS void LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
  PERFORM forget_alone();
  PERFORM FROM callback_cursors c WHERE c.tenant_id = who ORDER BY c.endpoint FOR UPDATE;
  DELETE FROM callback_deliveries d WHERE d.tenant_id = who;
  DELETE FROM callback_cursors c WHERE c.tenant_id = who;
  DELETE FROM event_readers r WHERE r.tenant_id = who;
  DELETE FROM events e WHERE e.tenant_id = who;
  DELETE FROM arrivals a WHERE a.tenant_id = who;
  DELETE FROM incoming_messages i WHERE i.tenant_id = who AND i.dispatched_at IS NOT NULL;
  PERFORM pg_advisory_xact_lock(process_class(), 0);
  DELETE FROM incoming_messages i WHERE i.tenant_id = who;
END $$;
