-- The door: one call admits a whole batch. A batch is columns, not rows (core.paths.batch builds it):
--   keys      [[tenant, digest|null]…]                      distinct credentials
--   subjects  [[tenant, recipient, mask]…]                  distinct recipients whose membership in lists matters
--   daily     [[tenant, recipient, date]…]                  distinct counters of daily_limits, sorted
--   counters  [[tenant, name, period, subject, window]…]    distinct counters of quota_counters, sorted
--   rows      [{id, tenant, to, …}…]                        the messages
--   key, subject                                            per row: an index into keys, subjects (1-based, 0: none)
--   waive     {row, name, mask}                             per exemption: waives `name` for `row` when mask is 0 or matches
--   gap       {row, name, ms}                               per pace: what a plugin asks for
--   quota     {row, name, slot, limit, cost, mask, about}   per quota: slot > 0 is in daily, slot < 0 in counters
-- List masks are core.decisions.Listed: 1 whitelist, 2 wrote to us within 24 hours.
--
-- Lock order, the same in every process: idempotency keys sorted, daily_limits sorted, quota_counters sorted, lines sorted.
-- An id that exists is a replay, so any batch may be repeated when nobody knows whether it was committed.

CREATE FUNCTION jsonb_ints(list jsonb) RETURNS integer[] LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(array_agg(value::integer ORDER BY n), '{}') FROM jsonb_array_elements_text(list) WITH ORDINALITY e(value, n)
$$;

CREATE FUNCTION jsonb_texts(list jsonb) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(array_agg(value ORDER BY n), '{}') FROM jsonb_array_elements_text(list) WITH ORDINALITY e(value, n)
$$;

-- Which credentials are still good.
CREATE FUNCTION keys_alive(keys jsonb) RETURNS boolean[] LANGUAGE sql STABLE AS $$
  SELECT array_agg(a.tenant_id IS NOT NULL ORDER BY k.n)
    FROM jsonb_array_elements(keys) WITH ORDINALITY k(pair, n)
    LEFT JOIN api_keys a ON a.tenant_id = k.pair ->> 0
                        AND (k.pair ->> 1 IS NULL OR key_digest(a.api_key) = k.pair ->> 1)
$$;

-- In which of the lists asked for each recipient stands.
CREATE FUNCTION lists_of(subjects jsonb) RETURNS integer[] LANGUAGE sql STABLE AS $$
  SELECT coalesce(array_agg(
           CASE WHEN mask & 1 <> 0 AND EXISTS (SELECT FROM whitelist w WHERE w.tenant_id = tenant AND w.phone_number = recipient)
                THEN 1 ELSE 0 END
         | CASE WHEN mask & 2 <> 0 AND EXISTS (SELECT FROM incoming_messages i WHERE i.tenant_id = tenant AND i.chat = recipient
                                                AND i.at > now() - interval '24 hours')
                THEN 2 ELSE 0 END ORDER BY n), '{}')
    FROM (SELECT s ->> 0 AS tenant, s ->> 1 AS recipient, (s ->> 2)::integer AS mask, n
            FROM jsonb_array_elements(subjects) WITH ORDINALITY e(s, n)) x
$$;

CREATE FUNCTION admit_v1(batch jsonb)
RETURNS TABLE (outcome text, message_id uuid, status text, expected_at timestamptz, ahead integer, quota jsonb, waived text[])
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  size integer := jsonb_array_length(batch -> 'rows');
  alive boolean[] := keys_alive(batch -> 'keys');
  listed integer[] := lists_of(batch -> 'subjects');
  key integer[] := jsonb_ints(batch -> 'key');
  subject integer[] := jsonb_ints(batch -> 'subject');
  tenant text[];
  client_ref text[];
  priority integer[];
  send_at timestamptz[];
  owner uuid[];            -- the message that owns the row's idempotency key, or the row's own id when it is stored already
  same boolean[];          -- the key was used for the same request
  result text[];
  waived_of text[];        -- text[] in its text form
  gap integer[];
  expected timestamptz[];
  before integer[];
  answer jsonb[];
  counted jsonb[];

  waive_row integer[] := jsonb_ints(batch #> '{waive,row}');
  waive_name text[] := jsonb_texts(batch #> '{waive,name}');
  waive_mask integer[] := jsonb_ints(batch #> '{waive,mask}');
  gap_row integer[] := jsonb_ints(batch #> '{gap,row}');
  gap_name text[] := jsonb_texts(batch #> '{gap,name}');
  gap_ms integer[] := jsonb_ints(batch #> '{gap,ms}');
  quota_row integer[] := jsonb_ints(batch #> '{quota,row}');
  quota_name text[] := jsonb_texts(batch #> '{quota,name}');
  quota_slot integer[] := jsonb_ints(batch #> '{quota,slot}');
  quota_limit integer[] := jsonb_ints(batch #> '{quota,limit}');
  quota_cost integer[] := jsonb_ints(batch #> '{quota,cost}');
  quota_mask integer[] := jsonb_ints(batch #> '{quota,mask}');
  quota_active boolean[] := array_fill(false, ARRAY[greatest(coalesce(array_length(quota_row, 1), 0), 1)]);
  quotas integer := coalesce(array_length(quota_row, 1), 0);
  first_quota integer;
  used integer;
  slot integer;

  daily_id integer[];
  daily_count integer[];
  daily_new integer[];
  counter_used integer[];
  counter_new integer[];

  lines_of text[];
  line integer;
  line_paced timestamptz[];
  line_waiting integer[];  -- four per line
  line_gap bigint[];       -- three per line
  stretch bigint;
  present timestamptz;
  lists integer;
  names text[];
  w integer := 1;
  g integer := 1;
  q integer := 1;
  p integer;
BEGIN
  SELECT array_agg(r.tenant ORDER BY n), array_agg(r.client_ref ORDER BY n), array_agg(r.priority ORDER BY n),
         array_agg(r.send_at ORDER BY n)
    INTO tenant, client_ref, priority, send_at
    FROM ROWS FROM (jsonb_to_recordset(batch -> 'rows') AS (tenant text, client_ref text, priority integer, send_at timestamptz))
         WITH ORDINALITY r(tenant, client_ref, priority, send_at, n);

  -- Idempotency keys. A concurrent insert of the same key is waited for; what it left is read with a new snapshot.
  INSERT INTO idempotency_keys (tenant_id, client_ref, fingerprint, message_id)
    SELECT r.tenant, r.client_ref, r.fingerprint, r.id
      FROM ROWS FROM (jsonb_to_recordset(batch -> 'rows') AS (id uuid, tenant text, client_ref text, fingerprint text))
           WITH ORDINALITY r(id, tenant, client_ref, fingerprint, n)
     WHERE r.client_ref IS NOT NULL AND alive[key[n]] ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
  SELECT array_agg(coalesce(m.id, nullif(k.message_id, r.id)) ORDER BY n),
         array_agg(m.id IS NOT NULL OR k.fingerprint = r.fingerprint ORDER BY n)
    INTO owner, same
    FROM ROWS FROM (jsonb_to_recordset(batch -> 'rows') AS (id uuid, tenant text, client_ref text, fingerprint text))
         WITH ORDINALITY r(id, tenant, client_ref, fingerprint, n)
    LEFT JOIN idempotency_keys k ON k.tenant_id = r.tenant AND k.client_ref = r.client_ref
    LEFT JOIN messages m ON m.id = r.id;

  -- What each row is waived, which quotas bind it and which gap it keeps. waive, gap and quota are sorted by row.
  FOR n IN 1..size LOOP
    result[n] := CASE WHEN NOT alive[key[n]] THEN 'revoked'
                      WHEN owner[n] IS NULL THEN 'queued'
                      WHEN same[n] THEN 'replayed' ELSE 'conflict' END;
    lists := CASE WHEN subject[n] > 0 THEN listed[subject[n]] ELSE 0 END;
    names := '{}';
    WHILE waive_row[w] = n LOOP
      IF waive_mask[w] = 0 OR waive_mask[w] & lists <> 0 THEN names := names || waive_name[w]; END IF;
      w := w + 1;
    END LOOP;
    gap[n] := 0;
    WHILE gap_row[g] = n LOOP
      IF gap_name[g] <> ALL (names) THEN gap[n] := greatest(gap[n], gap_ms[g]); END IF;
      g := g + 1;
    END LOOP;
    WHILE quota_row[q] = n LOOP
      quota_active[q] := result[n] = 'queued' AND quota_name[q] <> ALL (names)
                         AND (quota_mask[q] = 0 OR quota_mask[q] & lists <> 0);
      q := q + 1;
    END LOOP;
    waived_of[n] := names::text;
  END LOOP;

  -- Counters are made and locked in one order: two batches cannot wait for each other.
  IF true = ANY (quota_active) THEN
    INSERT INTO daily_limits (tenant_id, phone_number, date)
      SELECT batch #>> ARRAY['daily', (s - 1)::text, '0'], batch #>> ARRAY['daily', (s - 1)::text, '1'],
             (batch #>> ARRAY['daily', (s - 1)::text, '2'])::date
        FROM (SELECT DISTINCT s FROM unnest(quota_slot, quota_active) u(s, active) WHERE active AND s > 0) d ORDER BY s
      ON CONFLICT DO NOTHING;
    FOR slot, line, used IN
      SELECT d.s, l.id, l.count
        FROM (SELECT DISTINCT s, batch #>> ARRAY['daily', (s - 1)::text, '0'] AS tenant,
                     batch #>> ARRAY['daily', (s - 1)::text, '1'] AS recipient,
                     (batch #>> ARRAY['daily', (s - 1)::text, '2'])::date AS day
                FROM unnest(quota_slot, quota_active) u(s, active) WHERE active AND s > 0) d
        JOIN daily_limits l ON l.tenant_id = d.tenant AND l.phone_number = d.recipient AND l.date = d.day
       ORDER BY d.s FOR UPDATE OF l
    LOOP
      daily_id[slot] := line;
      daily_count[slot] := coalesce(used, 0);
    END LOOP;
    INSERT INTO quota_counters (tenant_id, name, period, subject, window_start)
      SELECT c ->> 0, c ->> 1, c ->> 2, c ->> 3, (c ->> 4)::timestamptz
        FROM (SELECT DISTINCT -s AS s FROM unnest(quota_slot, quota_active) u(s, active) WHERE active AND s < 0) d,
             LATERAL (SELECT batch -> 'counters' -> (d.s - 1) AS c) x ORDER BY d.s
      ON CONFLICT DO NOTHING;
    FOR slot, used IN
      SELECT d.s, k.used
        FROM (SELECT DISTINCT -s AS s, batch -> 'counters' -> (-s - 1) AS c
                FROM unnest(quota_slot, quota_active) u(s, active) WHERE active AND s < 0) d
        JOIN quota_counters k ON k.tenant_id = d.c ->> 0 AND k.name = d.c ->> 1 AND k.period = d.c ->> 2
                             AND k.subject = d.c ->> 3 AND k.window_start = (d.c ->> 4)::timestamptz
       ORDER BY d.s FOR UPDATE OF k
    LOOP
      counter_used[slot] := used;
    END LOOP;
    daily_new := daily_count;
    counter_new := counter_used;
  END IF;

  -- In order, over the locked values: all quotas of a row fit, or none is counted. Two quotas on one counter count once.
  q := 1;
  FOR n IN 1..size LOOP
    counted[n] := '[]';
    first_quota := q;
    WHILE quota_row[q] = n LOOP
      IF quota_active[q] AND result[n] = 'queued' THEN
        slot := quota_slot[q];
        used := CASE WHEN slot > 0 THEN daily_count[slot] ELSE counter_used[-slot] END;
        IF used + quota_cost[q] > quota_limit[q] THEN
          result[n] := 'over';
          answer[n] := (batch #> ARRAY['quota', 'about', (q - 1)::text])
                       || jsonb_build_object('name', quota_name[q], 'limit', quota_limit[q], 'used', used);
        END IF;
      END IF;
      q := q + 1;
    END LOOP;
    IF result[n] = 'queued' THEN
      FOR i IN first_quota..q - 1 LOOP
        CONTINUE WHEN NOT quota_active[i];
        slot := quota_slot[i];
        IF slot > 0 THEN
          daily_new[slot] := greatest(daily_new[slot], daily_count[slot] + quota_cost[i]);
          answer[n] := (batch #> ARRAY['quota', 'about', (i - 1)::text])
                       || jsonb_build_object('name', quota_name[i], 'limit', quota_limit[i], 'used', daily_new[slot]);
          counted[n] := counted[n] || jsonb_build_array(
            (batch #> ARRAY['daily', (slot - 1)::text]) || to_jsonb(quota_cost[i]));
        ELSE
          counter_new[-slot] := greatest(counter_new[-slot], counter_used[-slot] + quota_cost[i]);
          counted[n] := counted[n] || jsonb_build_array(
            (batch #> ARRAY['counters', (-slot - 1)::text]) || to_jsonb(quota_cost[i]));
        END IF;
      END LOOP;
      FOR i IN first_quota..q - 1 LOOP
        CONTINUE WHEN NOT quota_active[i];
        slot := quota_slot[i];
        IF slot > 0 THEN daily_count[slot] := daily_new[slot]; ELSE counter_used[-slot] := counter_new[-slot]; END IF;
      END LOOP;
    END IF;
  END LOOP;

  -- A place in the tenant's line. Only now is the time taken: whoever comes later in a line has the later time.
  SELECT array_agg(DISTINCT t ORDER BY t) INTO lines_of FROM unnest(tenant, result) u(t, r) WHERE r = 'queued';
  INSERT INTO lines (tenant_id) SELECT t FROM unnest(lines_of) t ORDER BY t ON CONFLICT DO NOTHING;
  FOR p IN 1..coalesce(array_length(lines_of, 1), 0) LOOP
    SELECT line_paced || l.paced_at, line_waiting || l.waiting, line_gap || l.gap_ms INTO line_paced, line_waiting, line_gap
      FROM lines l WHERE l.tenant_id = lines_of[p] FOR UPDATE;
  END LOOP;
  present := clock_timestamp();
  FOR n IN 1..size LOOP
    CONTINUE WHEN result[n] <> 'queued';
    line := array_position(lines_of, tenant[n]) - 1;
    p := priority[n];
    before[n] := line_waiting[line * 4 + 4];
    IF gap[n] > 0 THEN
      IF line_waiting[line * 4 + 1] + line_waiting[line * 4 + 2] + line_waiting[line * 4 + 3] = 0 THEN
        -- Nobody waits: the line's clock is set so that this one's slot is its gap after the last send, or now.
        line_paced[line + 1] := greatest(line_paced[line + 1], present - make_interval(secs => gap[n] / 1000.0));
      END IF;
      stretch := gap[n];
      FOR i IN 1..p LOOP
        before[n] := before[n] + line_waiting[line * 4 + i];
        stretch := stretch + line_gap[line * 3 + i];
      END LOOP;
      expected[n] := greatest(present, send_at[n], line_paced[line + 1] + make_interval(secs => stretch / 1000.0));
    ELSE
      expected[n] := greatest(present, send_at[n]);
      p := 4;
    END IF;
    IF send_at[n] IS NULL OR send_at[n] <= present THEN
      send_at[n] := present;
      line_waiting[line * 4 + p] := line_waiting[line * 4 + p] + 1;
      IF p < 4 THEN line_gap[line * 3 + p] := line_gap[line * 3 + p] + gap[n]; END IF;
    END IF;
  END LOOP;

  -- Each counter and line is written once.
  UPDATE daily_limits d SET count = u.c, updated_at = CURRENT_TIMESTAMP
    FROM unnest(daily_id, daily_count) u(id, c) WHERE d.id = u.id AND d.count IS DISTINCT FROM u.c;
  UPDATE quota_counters k SET used = u.used
    FROM (SELECT batch -> 'counters' -> (n::integer - 1) AS c, v AS used
            FROM unnest(counter_used) WITH ORDINALITY x(v, n) WHERE v IS NOT NULL) u
   WHERE k.tenant_id = u.c ->> 0 AND k.name = u.c ->> 1 AND k.period = u.c ->> 2 AND k.subject = u.c ->> 3
     AND k.window_start = (u.c ->> 4)::timestamptz AND k.used <> u.used;
  UPDATE lines l SET paced_at = line_paced[n], waiting = line_waiting[n * 4 - 3:n * 4],
                     gap_ms = line_gap[n * 3 - 2:n * 3]
    FROM unnest(lines_of) WITH ORDINALITY u(t, n) WHERE l.tenant_id = u.t;
  DELETE FROM idempotency_keys k
   USING (SELECT r.id FROM ROWS FROM (jsonb_to_recordset(batch -> 'rows') AS (id uuid)) WITH ORDINALITY r(id, n)
           WHERE client_ref[n] IS NOT NULL AND result[n] = 'over') refused
   WHERE k.message_id = refused.id;
  INSERT INTO messages (id, tenant_id, recipient, kind, content, reply_to, mentions, client_ref, answers, priority, status,
                        created_at, send_at, expires_at, expected_at, ahead, gap_ms, quota, waived, counted, explanation, history)
    SELECT r.id, r.tenant, r."to", r.kind, r.content, r.reply_to, r.mentions, r.client_ref, r.answers, r.priority, 'queued',
           present, send_at[n], r.expires_at, expected[n], before[n], gap[n], answer[n], waived_of[n]::text[], counted[n],
           r.explanation, jsonb_build_array(jsonb_build_object('status', 'queued', 'at', present))
      FROM ROWS FROM (jsonb_to_recordset(batch -> 'rows') AS (
             id uuid, tenant text, "to" text, kind text, content text, reply_to text, mentions text[], client_ref text, answers text,
             priority integer, expires_at timestamptz, explanation jsonb))
           WITH ORDINALITY r(id, tenant, "to", kind, content, reply_to, mentions, client_ref, answers, priority, expires_at,
                             explanation, n)
     WHERE result[n] = 'queued' ORDER BY n;

  RETURN QUERY
    SELECT result[n], coalesce(owner[n], r.id),
           CASE result[n] WHEN 'queued' THEN 'queued' WHEN 'replayed' THEN coalesce(m.status, 'unknown') END,
           CASE WHEN result[n] = 'replayed' THEN m.expected_at ELSE expected[n] END,
           CASE WHEN result[n] = 'replayed' THEN m.ahead ELSE before[n] END,
           CASE WHEN result[n] = 'replayed' THEN m.quota ELSE answer[n] END,
           CASE WHEN result[n] = 'replayed' THEN m.waived ELSE waived_of[n]::text[] END
      FROM ROWS FROM (jsonb_to_recordset(batch -> 'rows') AS (id uuid)) WITH ORDINALITY r(id, n)
      LEFT JOIN messages m ON result[n] = 'replayed' AND m.id = owner[n] AND m.tenant_id = tenant[n]
     ORDER BY n;
END $$;
