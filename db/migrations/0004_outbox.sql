-- Out again: claim, record, drop. A message leaves its line in the same statement in which its status leaves `queued`.
-- Lock order: messages before counters before lines (drop). Claiming holds a line first, and therefore never waits for a message
-- (SKIP LOCKED).

-- Nothing for the same recipient goes first: nothing is in flight to it, and nothing as urgent came earlier.
CREATE FUNCTION is_next_for_recipient(m messages, present timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT NOT EXISTS (
    SELECT FROM messages e
     WHERE e.tenant_id = m.tenant_id AND e.recipient = m.recipient AND e.status IN ('queued', 'sending')
       AND (e.status = 'sending'
            OR (e.priority <= m.priority AND (e.send_at, e.seq) < (m.send_at, m.seq) AND e.expires_at > present)))
$$;

-- Messages for later that are due stand in the line from now on. The caller holds the line's lock.
CREATE FUNCTION join_line(line lines, present timestamptz) RETURNS lines LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  m record;
BEGIN
  FOR m IN
    UPDATE messages x SET in_line = true
     WHERE x.id IN (SELECT y.id FROM messages y
                     WHERE y.tenant_id = line.tenant_id AND y.status = 'queued' AND NOT y.in_line AND y.send_at <= present
                       FOR UPDATE SKIP LOCKED)
    RETURNING x.priority, x.gap_ms
  LOOP
    IF m.gap_ms = 0 THEN
      line.waiting[3 + m.priority] := line.waiting[3 + m.priority] + 1;
    ELSE
      line.waiting[m.priority] := line.waiting[m.priority] + 1;
      line.gap_ms[m.priority] := line.gap_ms[m.priority] + m.gap_ms;
    END IF;
  END LOOP;
  RETURN line;
END $$;

-- The first of the tenant's due messages of one priority that nothing for the same recipient goes before. So that many
-- messages to one recipient that has to wait do not cost the others' time, it looks at the first thousand only.
CREATE FUNCTION first_due(who text, urgency integer, is_paced boolean, present timestamptz) RETURNS messages LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off SET enable_bitmapscan = off AS $$
DECLARE
  found messages;
BEGIN
  IF is_paced THEN
    FOR found IN SELECT x.* FROM messages x
                  WHERE x.tenant_id = who AND x.status = 'queued' AND x.gap_ms > 0 AND x.priority = urgency
                    AND x.send_at <= present ORDER BY x.send_at, x.seq LIMIT 1000 LOOP
      IF found.expires_at > present AND is_next_for_recipient(found, present) THEN RETURN found; END IF;
    END LOOP;
  ELSE
    FOR found IN SELECT x.* FROM messages x
                  WHERE x.tenant_id = who AND x.status = 'queued' AND x.gap_ms = 0 AND x.priority = urgency
                    AND x.send_at <= present ORDER BY x.send_at, x.seq LIMIT 1000 LOOP
      IF found.expires_at > present AND is_next_for_recipient(found, present) THEN RETURN found; END IF;
    END LOOP;
  END IF;
  RETURN NULL;
END $$;

-- The tenant's next message, now `sending`; or no id, and when to look again (`wake_at`, null: when something changes).
-- Urgent before normal before bulk. Within one priority unpaced messages go at once and leave the line's clock alone; of the
-- paced ones the most urgent goes when its gap has passed since the last slot. A message that this process holds already is
-- given again: the answer to an earlier claim was lost.
CREATE FUNCTION claim_v1(who text, by_process integer)
RETURNS TABLE (id uuid, recipient text, kind text, content text, reply_to text, mentions text[], client_ref text, answers text,
               priority smallint, send_at timestamptz, expires_at timestamptz, gap_ms integer, wake_at timestamptz)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
  line lines;
  m messages;
  candidate messages;
  present timestamptz;
  slot timestamptz;
BEGIN
  SELECT l.* INTO line FROM lines l WHERE l.tenant_id = who FOR UPDATE;
  IF NOT FOUND OR NOT EXISTS (SELECT FROM api_keys a WHERE a.tenant_id = who) THEN RETURN; END IF;
  SELECT x.* INTO m FROM messages x WHERE x.tenant_id = who AND x.status = 'sending' AND x.process = by_process LIMIT 1;
  IF m.id IS NULL THEN
    present := clock_timestamp();
    line := join_line(line, present);
    FOR p IN 1..3 LOOP
      m := first_due(who, p, false, present);
      EXIT WHEN m.id IS NOT NULL;
      IF slot IS NULL THEN
        candidate := first_due(who, p, true, present);
        slot := greatest(line.paced_at + make_interval(secs => candidate.gap_ms / 1000.0), candidate.send_at);
        IF slot <= present THEN m := candidate; EXIT; END IF;
      END IF;
    END LOOP;
    IF m.id IS NOT NULL THEN
      PERFORM FROM messages x WHERE x.id = m.id AND x.status = 'queued' FOR UPDATE SKIP LOCKED;
      IF FOUND THEN
        UPDATE messages x SET status = 'sending', process = by_process, claimed_at = present,
                              history = x.history || jsonb_build_object('status', 'sending', 'at', present)
         WHERE x.id = m.id;
      ELSE  -- it is being cancelled or expires: look again
        m := NULL;
        slot := present;
      END IF;
    END IF;
    IF m.id IS NULL THEN
      wake_at := least(slot, (SELECT x.send_at FROM messages x
                               WHERE x.tenant_id = who AND x.status = 'queued' AND NOT x.in_line ORDER BY x.send_at LIMIT 1));
    ELSIF m.gap_ms = 0 THEN
      line.waiting[3 + m.priority] := line.waiting[3 + m.priority] - 1;
    ELSE
      line.waiting[m.priority] := line.waiting[m.priority] - 1;
      line.gap_ms[m.priority] := line.gap_ms[m.priority] - m.gap_ms;
      -- The slot, not the moment: small latencies do not add up. Over a second late, the line goes on from now.
      line.paced_at := CASE WHEN present - slot > interval '1 second' THEN present ELSE slot END;
    END IF;
    UPDATE lines l SET paced_at = line.paced_at, waiting = line.waiting, gap_ms = line.gap_ms
     WHERE l.tenant_id = who AND l IS DISTINCT FROM line;
  END IF;
  IF m.id IS NOT NULL THEN
    RETURN QUERY SELECT m.id, m.recipient::text, m.kind, m.content, m.reply_to, m.mentions, m.client_ref, m.answers, m.priority,
                        m.send_at, m.expires_at, m.gap_ms, NULL::timestamptz;
  ELSIF wake_at IS NOT NULL THEN
    RETURN NEXT;
  END IF;
END $$;

-- What these messages counted comes back. `counted` holds [tenant, recipient, date, cost] of daily_limits and
-- [tenant, name, period, subject, window, cost] of quota_counters.
CREATE FUNCTION give_back(ids uuid[]) RETURNS void LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  c record;
BEGIN
  FOR c IN
    SELECT x ->> 0 AS tenant, x ->> 1 AS recipient, (x ->> 2)::date AS day, sum((x ->> 3)::integer)::integer AS cost
      FROM messages m, jsonb_array_elements(m.counted) x
     WHERE m.id = ANY (ids) AND jsonb_array_length(x) = 4 GROUP BY 1, 2, 3
     ORDER BY (x ->> 0) COLLATE "C", (x ->> 1) COLLATE "C", 3  -- as core.paths.batch sorts
  LOOP
    UPDATE daily_limits d SET count = greatest(d.count - c.cost, 0), updated_at = CURRENT_TIMESTAMP
     WHERE d.tenant_id = c.tenant AND d.phone_number = c.recipient AND d.date = c.day;
  END LOOP;
  FOR c IN
    SELECT x ->> 0 AS tenant, x ->> 1 AS name, x ->> 2 AS period, x ->> 3 AS subject, (x ->> 4)::timestamptz AS start,
           sum((x ->> 5)::integer)::integer AS cost
      FROM messages m, jsonb_array_elements(m.counted) x
     WHERE m.id = ANY (ids) AND jsonb_array_length(x) = 6 GROUP BY 1, 2, 3, 4, 5
     ORDER BY (x ->> 0) COLLATE "C", (x ->> 1) COLLATE "C", (x ->> 2) COLLATE "C", (x ->> 3) COLLATE "C", 5
  LOOP
    UPDATE quota_counters k SET used = greatest(k.used - c.cost, 0)
     WHERE k.tenant_id = c.tenant AND k.name = c.name AND k.period = c.period AND k.subject = c.subject
       AND k.window_start = c.start;
  END LOOP;
  UPDATE messages SET counted = '[]' WHERE id = ANY (ids) AND counted <> '[]';
END $$;

-- Queued messages that will not go: cancelled, expired or withdrawn. Returns those that were still queued.
CREATE FUNCTION drop_v1(ids uuid[], new_status text, why text)
RETURNS TABLE (id uuid, tenant_id text, recipient text, at timestamptz) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  present timestamptz := clock_timestamp();
  dropped uuid[];
  c record;
  line lines;
BEGIN
  SELECT array_agg(q.id) INTO dropped
    FROM (SELECT m.id FROM messages m WHERE m.id = ANY (ids) AND m.status = 'queued' ORDER BY m.id FOR UPDATE) q;
  IF dropped IS NULL THEN RETURN; END IF;
  UPDATE messages m
     SET status = new_status, cause = why,
         history = m.history || jsonb_build_object('status', new_status, 'at', present, 'cause', why)
   WHERE m.id = ANY (dropped);
  PERFORM give_back(dropped);
  FOR c IN
    SELECT m.tenant_id AS tenant, m.priority AS p, m.gap_ms = 0 AS unpaced, count(*)::integer AS n, sum(m.gap_ms) AS gap
      FROM messages m WHERE m.id = ANY (dropped) AND m.in_line GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
  LOOP
    SELECT l.* INTO line FROM lines l WHERE l.tenant_id = c.tenant FOR UPDATE;
    IF c.unpaced THEN
      line.waiting[3 + c.p] := line.waiting[3 + c.p] - c.n;
    ELSE
      line.waiting[c.p] := line.waiting[c.p] - c.n;
      line.gap_ms[c.p] := line.gap_ms[c.p] - c.gap;
    END IF;
    UPDATE lines l SET waiting = line.waiting, gap_ms = line.gap_ms WHERE l.tenant_id = c.tenant;
  END LOOP;
  RETURN QUERY SELECT m.id, m.tenant_id::text, m.recipient::text, present FROM messages m WHERE m.id = ANY (dropped);
END $$;

-- What became of a message in flight. Late news settle an `unknown` too. `returns`: it never left, so what it counted comes back.
CREATE FUNCTION record_v1(message uuid, new_status text, why text, whatsapp_id text, returns boolean)
RETURNS TABLE (at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
  present timestamptz := clock_timestamp();
BEGIN
  UPDATE messages m
     SET status = new_status, cause = why, wa_id = coalesce(whatsapp_id, m.wa_id), process = NULL,
         settled_at = present,
         sent_at = CASE WHEN new_status = 'sent' THEN present ELSE m.sent_at END,
         history = m.history || jsonb_strip_nulls(jsonb_build_object('status', new_status, 'at', present, 'cause', why))
   WHERE m.id = message AND m.status IN ('sending', 'unknown');
  IF FOUND THEN
    IF returns THEN PERFORM give_back(ARRAY[message]); END IF;
    RETURN QUERY SELECT present;
  ELSE  -- recorded already, and the answer was lost
    RETURN QUERY SELECT m.settled_at FROM messages m WHERE m.id = message AND m.status = new_status;
  END IF;
END $$;

-- A process shows that it lives by an advisory lock (its number, in this class) on its listening connection.
CREATE FUNCTION process_class() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1734440053';

CREATE FUNCTION live_processes() RETURNS SETOF integer LANGUAGE sql VOLATILE AS $$
  SELECT objid::bigint::integer FROM pg_locks
   WHERE locktype = 'advisory' AND classid = process_class()::oid AND objsubid = 2 AND granted
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
$$;

-- In flight, and its process is gone: nobody knows whether it left.
CREATE FUNCTION settle_orphans_v1(grace interval) RETURNS TABLE (id uuid, tenant_id text, recipient text, at timestamptz)
LANGUAGE sql AS $$
  UPDATE messages m
     SET status = 'unknown', cause = 'gateway_died', process = NULL, settled_at = now(),
         history = m.history || jsonb_build_object('status', 'unknown', 'at', now(), 'cause', 'gateway_died')
   WHERE m.status = 'sending' AND m.claimed_at < now() - grace AND m.process NOT IN (SELECT live_processes())
  RETURNING m.id, m.tenant_id, m.recipient, now()
$$;

-- Up to `most` messages that no plugin has seen, oldest first; not of a tenant of whose messages another living process has
-- some in hand, so that each tenant's are shown in order. `in_hand`: the seq of what the caller is showing already; whatever
-- else has its number was claimed in vain, because the answer was lost.
CREATE FUNCTION claim_incoming_v1(by_process integer, in_hand bigint[], most integer) RETURNS SETOF incoming_messages
LANGUAGE sql VOLATILE AS $$
  SELECT pg_advisory_xact_lock(process_class(), 0);  -- one claims at a time
  WITH alive AS MATERIALIZED (SELECT live_processes() AS number)
  UPDATE incoming_messages i SET process = by_process
   WHERE (i.tenant_id, i.id) IN (
           SELECT w.tenant_id, w.id FROM incoming_messages w
            WHERE w.dispatched_at IS NULL AND w.seq <> ALL (in_hand)
              AND (w.process IS NULL OR w.process = by_process OR w.process NOT IN (SELECT number FROM alive))
              AND NOT EXISTS (SELECT FROM incoming_messages h
                               WHERE h.tenant_id = w.tenant_id AND h.dispatched_at IS NULL
                                 AND h.process <> by_process AND h.process IN (SELECT number FROM alive))
            ORDER BY w.seq LIMIT most)
  RETURNING i.*
$$;

-- Counters whose window has long passed, and idempotency keys that have lived their 30 days.
CREATE FUNCTION forget_v1() RETURNS void LANGUAGE sql AS $$
  DELETE FROM idempotency_keys WHERE created_at < now() - interval '30 days';
  DELETE FROM quota_counters
   WHERE window_start < now() - CASE period WHEN 'month' THEN interval '62 days' WHEN 'week' THEN interval '15 days'
                                            ELSE interval '3 days' END;
$$;
