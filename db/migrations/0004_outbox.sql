-- Out again: claim, record, drop. A message leaves its line in the same statement in which its status leaves `queued`.
-- Lock order: lines before messages (claim: SKIP LOCKED), messages before counters before lines (drop).

-- Nothing for the same recipient goes first: nothing is in flight to it, and nothing as urgent came earlier.
CREATE FUNCTION is_next_for_recipient(m messages, present timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT NOT EXISTS (
    SELECT FROM messages e
     WHERE e.tenant_id = m.tenant_id AND e.recipient = m.recipient AND e.status IN ('queued', 'sending')
       AND (e.status = 'sending'
            OR (e.priority <= m.priority AND (e.send_at, e.seq) < (m.send_at, m.seq) AND e.expires_at > present)))
$$;

-- The tenant's next message, now `sending`; or no id, and when to look again (`wake_at`, null: when something changes).
-- Unpaced messages go at once and leave the line's clock alone; paced ones go when their gap has passed since the last slot.
CREATE FUNCTION claim_v1(who text, by_process integer)
RETURNS TABLE (id uuid, recipient text, kind text, content text, reply_to text, mentions text[], client_ref text, answers text,
               priority smallint, send_at timestamptz, expires_at timestamptz, gap_ms integer, wake_at timestamptz)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
  line lines;
  m messages;
  present timestamptz;
  slot timestamptz;
  lane integer := 4;
BEGIN
  SELECT l.* INTO line FROM lines l WHERE l.tenant_id = who FOR UPDATE;
  IF NOT FOUND THEN RETURN; END IF;
  present := clock_timestamp();
  FOR p IN 1..3 LOOP
    SELECT x.* INTO m FROM messages x
     WHERE x.tenant_id = who AND x.status = 'queued' AND x.gap_ms = 0 AND x.priority = p AND x.send_at <= present
       AND x.expires_at > present AND is_next_for_recipient(x, present)
     ORDER BY x.send_at, x.seq LIMIT 1 FOR UPDATE SKIP LOCKED;
    EXIT WHEN FOUND;
  END LOOP;
  IF m.id IS NULL THEN
    FOR p IN 1..3 LOOP
      SELECT x.* INTO m FROM messages x
       WHERE x.tenant_id = who AND x.status = 'queued' AND x.gap_ms > 0 AND x.priority = p AND x.send_at <= present
         AND x.expires_at > present AND is_next_for_recipient(x, present)
       ORDER BY x.send_at, x.seq LIMIT 1 FOR UPDATE SKIP LOCKED;
      EXIT WHEN FOUND;
    END LOOP;
    lane := m.priority;
    slot := greatest(line.paced_at + make_interval(secs => m.gap_ms / 1000.0), m.send_at);
  END IF;
  IF m.id IS NULL OR slot > present THEN
    wake_at := least(slot, (SELECT min(x.send_at) FROM messages x
                             WHERE x.tenant_id = who AND x.status = 'queued' AND x.send_at > present));
    IF wake_at IS NOT NULL THEN RETURN NEXT; END IF;
    RETURN;
  END IF;
  UPDATE messages x SET status = 'sending', process = by_process, claimed_at = present,
                        history = x.history || jsonb_build_object('status', 'sending', 'at', present)
   WHERE x.id = m.id;
  IF lane < 4 THEN
    -- The slot, not the moment: small latencies do not add up. Over a second late, the line goes on from now.
    line.paced_at := CASE WHEN present - slot > interval '1 second' THEN present ELSE slot END;
  END IF;
  IF m.send_at <= m.created_at THEN
    line.waiting[lane] := line.waiting[lane] - 1;
    IF lane < 4 THEN line.gap_ms[lane] := line.gap_ms[lane] - m.gap_ms; END IF;
  END IF;
  UPDATE lines l SET paced_at = line.paced_at, waiting = line.waiting, gap_ms = line.gap_ms WHERE l.tenant_id = who;
  RETURN QUERY SELECT m.id, m.recipient::text, m.kind, m.content, m.reply_to, m.mentions, m.client_ref, m.answers, m.priority,
                      m.send_at, m.expires_at, m.gap_ms, NULL::timestamptz;
END $$;

-- What these messages counted comes back. `counted` holds [tenant, recipient, date, cost] of daily_limits and
-- [tenant, name, period, subject, window, cost] of quota_counters.
CREATE FUNCTION give_back(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  c record;
BEGIN
  FOR c IN
    SELECT x ->> 0 AS tenant, x ->> 1 AS recipient, (x ->> 2)::date AS day, sum((x ->> 3)::integer)::integer AS cost
      FROM messages m, jsonb_array_elements(m.counted) x
     WHERE m.id = ANY (ids) AND jsonb_array_length(x) = 4 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
  LOOP
    UPDATE daily_limits d SET count = greatest(d.count - c.cost, 0), updated_at = CURRENT_TIMESTAMP
     WHERE d.tenant_id = c.tenant AND d.phone_number = c.recipient AND d.date = c.day;
  END LOOP;
  FOR c IN
    SELECT x ->> 0 AS tenant, x ->> 1 AS name, x ->> 2 AS period, x ->> 3 AS subject, (x ->> 4)::timestamptz AS start,
           sum((x ->> 5)::integer)::integer AS cost
      FROM messages m, jsonb_array_elements(m.counted) x
     WHERE m.id = ANY (ids) AND jsonb_array_length(x) = 6 GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
  LOOP
    UPDATE quota_counters k SET used = greatest(k.used - c.cost, 0)
     WHERE k.tenant_id = c.tenant AND k.name = c.name AND k.period = c.period AND k.subject = c.subject
       AND k.window_start = c.start;
  END LOOP;
  UPDATE messages SET counted = '[]' WHERE id = ANY (ids) AND counted <> '[]';
END $$;

-- Queued messages that will not go: cancelled, expired or withdrawn. Returns those that were still queued.
CREATE FUNCTION drop_v1(ids uuid[], new_status text, why text)
RETURNS TABLE (id uuid, tenant_id text, recipient text, at timestamptz) LANGUAGE plpgsql AS $$
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
    SELECT m.tenant_id AS tenant, CASE WHEN m.gap_ms = 0 THEN 4 ELSE m.priority END AS lane, count(*)::integer AS n, sum(m.gap_ms) AS gap
      FROM messages m WHERE m.id = ANY (dropped) AND m.send_at <= m.created_at GROUP BY 1, 2 ORDER BY 1, 2
  LOOP
    SELECT l.* INTO line FROM lines l WHERE l.tenant_id = c.tenant FOR UPDATE;
    line.waiting[c.lane] := line.waiting[c.lane] - c.n;
    IF c.lane < 4 THEN line.gap_ms[c.lane] := line.gap_ms[c.lane] - c.gap; END IF;
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
         sent_at = CASE WHEN new_status = 'sent' THEN present ELSE m.sent_at END,
         history = m.history || jsonb_strip_nulls(jsonb_build_object('status', new_status, 'at', present, 'cause', why))
   WHERE m.id = message AND m.status IN ('sending', 'unknown');
  IF NOT FOUND THEN RETURN; END IF;
  IF returns THEN PERFORM give_back(ARRAY[message]); END IF;
  RETURN QUERY SELECT present;
END $$;

-- A process shows that it lives by an advisory lock (its number, in this class) on its listening connection.
CREATE FUNCTION process_class() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1734440053';

CREATE FUNCTION process_lives(number integer) RETURNS boolean LANGUAGE sql VOLATILE AS $$
  SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = process_class()::oid AND objid = number::oid AND granted)
$$;

-- In flight, and its process is gone: nobody knows whether it left.
CREATE FUNCTION settle_orphans_v1(grace interval) RETURNS TABLE (id uuid, tenant_id text, recipient text, at timestamptz)
LANGUAGE sql AS $$
  UPDATE messages m
     SET status = 'unknown', cause = 'gateway_died', process = NULL,
         history = m.history || jsonb_build_object('status', 'unknown', 'at', clock_timestamp(), 'cause', 'gateway_died')
   WHERE m.status = 'sending' AND m.claimed_at < clock_timestamp() - grace AND NOT process_lives(m.process)
  RETURNING m.id, m.tenant_id, m.recipient, clock_timestamp()
$$;
