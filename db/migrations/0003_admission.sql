-- The door: one call admits a whole batch (core.paths.batch builds it). Whatever repeats is sent once and referred to by its
-- number, counted from 1; lists of numbers travel as array literals ('{1,2}'), which PostgreSQL reads fastest:
--   names         [name…]                              of plugins and quotas
--   keys          [[tenant, digest|null]…]             credentials
--   subjects      [[tenant, recipient, mask]…]         recipients whose membership in lists matters
--   daily         [{tenant, recipient, day}…]          counters of daily_limits, sorted
--   counters      [{tenant, name, period, subject, start}…]   counters of quota_counters, sorted
--   explanations  [what the plugins said…]
--   rows          [{id, tenant, to, …}…]               the messages
--   key, subject  per row                              (subject 0: none)
--   deny          row, mask                            refuses `row` when a list of the mask matches, whatever is waived
--   waive         row, name, mask                      waives `name` for `row` when mask is 0 or a list of it matches
--   gap           row, name, ms                        what a plugin asks to leave
--   quota         row, name, slot, limit, cost, mask, resets_at, counted     slot > 0 is in daily, slot < 0 in counters
-- deny, waive, gap and quota are sorted by row. Masks are core.decisions.Listed: 1 whitelist, 2 wrote to us within 24 hours,
-- 4 opted out (0006 has that list, and the lists_of that knows it).
--
-- Lock order, the same in every process: idempotency keys sorted, daily sorted, counters sorted, lines sorted.
-- An id that exists is a replay, so any batch may be repeated when nobody knows whether it was committed.

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
RETURNS TABLE ("row" bigint, outcome text, message_id uuid, status text, expected_at timestamptz, ahead integer, quota_name text,
               quota_limit integer, quota_used integer, quota_resets_at timestamptz, waived text[], denied integer)
LANGUAGE plpgsql
-- Planned once, and not at every call; and a plan made while the tables were small must not scan them when they have grown.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
  size integer := jsonb_array_length(batch -> 'rows');
  names text[] := jsonb_texts(batch -> 'names');
  alive boolean[] := keys_alive(batch -> 'keys');
  listed integer[] := lists_of(batch -> 'subjects');
  key integer[] := batch ->> 'key';
  subject integer[] := batch ->> 'subject';

  deny_row integer[] := batch #>> '{deny,row}';
  deny_mask integer[] := batch #>> '{deny,mask}';
  waive_row integer[] := batch #>> '{waive,row}';
  waive_name integer[] := batch #>> '{waive,name}';
  waive_mask integer[] := batch #>> '{waive,mask}';
  gap_row integer[] := batch #>> '{gap,row}';
  gap_name integer[] := batch #>> '{gap,name}';
  gap_ms integer[] := batch #>> '{gap,ms}';
  quota_row integer[] := batch #>> '{quota,row}';
  quota_name integer[] := batch #>> '{quota,name}';
  quota_slot integer[] := batch #>> '{quota,slot}';
  quota_limit integer[] := batch #>> '{quota,limit}';
  quota_cost integer[] := batch #>> '{quota,cost}';
  quota_mask integer[] := batch #>> '{quota,mask}';
  quota_resets_at timestamptz[] := batch #>> '{quota,resets_at}';
  quota_counted text[] := jsonb_texts(batch #> '{quota,counted}');
  quota_active boolean[];

  id uuid[];
  tenant text[];
  client_ref text[];
  recipient text[];
  priority integer[];
  send_at timestamptz[];
  owner uuid[];            -- the message that has the row's idempotency key, or the row's own id when it is stored already
  same boolean[];          -- the key was used for the same request
  result text[];
  denied integer[];        -- which of the row's conditional denies holds: the first, counted from 1
  waived_of text[];        -- an array of names, in its text form
  gap integer[];
  told integer[];          -- the quota that is told of: the daily limit, or the one that is used up
  told_used integer[];
  counted text[];
  before integer[];
  expected timestamptz[];

  daily_id integer[];
  daily_count integer[];
  daily_active integer[];
  counter_used integer[];
  counter_active integer[];
  lines_of text[];
  line_paced timestamptz[];
  line_waiting integer[];  -- six per line
  line_gap bigint[];       -- three per line

  present timestamptz;
  lists integer;
  waives integer[];
  first_quota integer;
  slots integer[];
  slot integer;
  used integer;
  number integer;
  line integer;
  stretch bigint;
  head integer;
  who text;
  whom text;
  due timestamptz;
  later boolean[];         -- not due yet: stands in no line
  d integer := 1;
  w integer := 1;
  g integer := 1;
  q integer := 1;
  p integer;
BEGIN
  SELECT array_agg(r.id ORDER BY n), array_agg(r.tenant ORDER BY n), array_agg(r.client_ref ORDER BY n),
         array_agg(r."to" ORDER BY n), array_agg(r.priority ORDER BY n), array_agg(r.send_at ORDER BY n)
    INTO id, tenant, client_ref, recipient, priority, send_at
    FROM ROWS FROM (jsonb_to_recordset(batch -> 'rows')
                    AS (id uuid, tenant text, client_ref text, "to" text, priority integer, send_at timestamptz))
         WITH ORDINALITY r(id, tenant, client_ref, "to", priority, send_at, n);

  SELECT array_agg(m.id ORDER BY n), array_agg(true)
    INTO owner, same
    FROM unnest(id) WITH ORDINALITY r(own, n)
    LEFT JOIN LATERAL (SELECT x.id FROM messages x WHERE x.id = r.own) m ON true;

  -- A concurrent insert of the same key is waited for; what it left is read by the next statement's snapshot.
  IF array_remove(client_ref, NULL) <> '{}' THEN
    INSERT INTO idempotency_keys (tenant_id, client_ref, fingerprint, message_id)
      SELECT r.tenant, r.client_ref, r.fingerprint, r.id
        FROM ROWS FROM (jsonb_to_recordset(batch -> 'rows') AS (id uuid, tenant text, client_ref text, fingerprint text))
             WITH ORDINALITY r(id, tenant, client_ref, fingerprint, n)
       WHERE r.client_ref IS NOT NULL AND alive[key[n]] ORDER BY 1, 2
      ON CONFLICT DO NOTHING;
    SELECT array_agg(coalesce(owner[n], nullif(k.message_id, r.id)) ORDER BY n),
           array_agg(owner[n] IS NOT NULL OR k.fingerprint = r.fingerprint ORDER BY n)
      INTO owner, same
      FROM ROWS FROM (jsonb_to_recordset(batch -> 'rows') AS (id uuid, tenant text, client_ref text, fingerprint text))
           WITH ORDINALITY r(id, tenant, client_ref, fingerprint, n)
      LEFT JOIN LATERAL (SELECT * FROM idempotency_keys x WHERE x.tenant_id = r.tenant AND x.client_ref = r.client_ref) k ON true;
  END IF;

  -- What each row is waived, which gap it keeps and which quotas bind it.
  FOR n IN 1..size LOOP
    result[n] := CASE WHEN owner[n] = id[n] THEN 'replayed'  -- this very batch, repeated
                      WHEN NOT alive[key[n]] THEN 'revoked'
                      WHEN owner[n] IS NULL THEN 'queued'
                      WHEN same[n] THEN 'replayed' ELSE 'conflict' END;
    lists := CASE WHEN subject[n] > 0 THEN listed[subject[n]] ELSE 0 END;
    number := 0;
    WHILE deny_row[d] = n LOOP
      number := number + 1;
      IF deny_mask[d] & lists <> 0 AND result[n] = 'queued' THEN
        result[n] := 'denied';
        denied[n] := number;
      END IF;
      d := d + 1;
    END LOOP;
    waives := '{}';
    waived_of[n] := '{}';
    WHILE waive_row[w] = n LOOP
      IF (waive_mask[w] = 0 OR waive_mask[w] & lists <> 0) AND waive_name[w] <> ALL (waives) THEN
        waives := waives || waive_name[w];
        waived_of[n] := (waived_of[n]::text[] || names[waive_name[w]])::text;
      END IF;
      w := w + 1;
    END LOOP;
    gap[n] := 0;
    WHILE gap_row[g] = n LOOP
      IF gap_name[g] <> ALL (waives) THEN gap[n] := greatest(gap[n], gap_ms[g]); END IF;
      g := g + 1;
    END LOOP;
    WHILE quota_row[q] = n LOOP
      quota_active[q] := result[n] = 'queued' AND quota_name[q] <> ALL (waives)
                         AND (quota_mask[q] = 0 OR quota_mask[q] & lists <> 0);
      IF quota_active[q] THEN
        IF quota_slot[q] > 0 THEN daily_active[quota_slot[q]] := quota_slot[q];
        ELSE counter_active[-quota_slot[q]] := -quota_slot[q]; END IF;
      END IF;
      q := q + 1;
    END LOOP;
  END LOOP;

  -- Counters are made and locked in one order: two batches never wait for each other in a circle.
  IF daily_active IS NOT NULL THEN
    INSERT INTO daily_limits (tenant_id, phone_number, date)
      SELECT d.tenant, d.recipient, d.day
        FROM ROWS FROM (jsonb_to_recordset(batch -> 'daily') AS (tenant text, recipient text, day date))
             WITH ORDINALITY d(tenant, recipient, day, n)
       WHERE daily_active[n] IS NOT NULL ORDER BY n
      ON CONFLICT DO NOTHING;
    FOR slot, number, used IN
      SELECT d.n, l.id, coalesce(l.count, 0)
        FROM ROWS FROM (jsonb_to_recordset(batch -> 'daily') AS (tenant text, recipient text, day date))
             WITH ORDINALITY d(tenant, recipient, day, n)
        JOIN daily_limits l ON l.tenant_id = d.tenant AND l.phone_number = d.recipient AND l.date = d.day
       WHERE daily_active[n] IS NOT NULL ORDER BY n FOR UPDATE OF l
    LOOP
      daily_id[slot] := number;
      daily_count[slot] := used;
    END LOOP;
  END IF;
  IF counter_active IS NOT NULL THEN
    INSERT INTO quota_counters (tenant_id, name, period, subject, window_start)
      SELECT c.tenant, c.name, c.period, c.subject, c.start
        FROM ROWS FROM (jsonb_to_recordset(batch -> 'counters')
                        AS (tenant text, name text, period text, subject text, start timestamptz))
             WITH ORDINALITY c(tenant, name, period, subject, start, n)
       WHERE counter_active[n] IS NOT NULL ORDER BY n
      ON CONFLICT DO NOTHING;
    FOR slot, used IN
      SELECT c.n, k.used
        FROM ROWS FROM (jsonb_to_recordset(batch -> 'counters')
                        AS (tenant text, name text, period text, subject text, start timestamptz))
             WITH ORDINALITY c(tenant, name, period, subject, start, n)
        JOIN quota_counters k ON k.tenant_id = c.tenant AND k.name = c.name AND k.period = c.period
                             AND k.subject = c.subject AND k.window_start = c.start
       WHERE counter_active[n] IS NOT NULL ORDER BY n FOR UPDATE OF k
    LOOP
      counter_used[slot] := used;
    END LOOP;
  END IF;

  -- In order, over the locked values: all quotas of a row fit, or none is counted. A counter that two of them share counts once.
  q := 1;
  FOR n IN 1..size LOOP
    counted[n] := '';
    first_quota := q;
    WHILE quota_row[q] = n LOOP
      IF quota_active[q] AND result[n] = 'queued' THEN
        slot := quota_slot[q];
        used := CASE WHEN slot > 0 THEN daily_count[slot] ELSE counter_used[-slot] END;
        IF quota_limit[q] - used < quota_cost[q] THEN
          result[n] := 'over';
          told[n] := q;
          told_used[n] := used;
        END IF;
      END IF;
      q := q + 1;
    END LOOP;
    CONTINUE WHEN result[n] <> 'queued';
    slots := '{}';
    FOR i IN first_quota..q - 1 LOOP
      slot := quota_slot[i];
      CONTINUE WHEN NOT quota_active[i] OR slot = ANY (slots);
      slots := slots || slot;
      IF slot > 0 THEN
        daily_count[slot] := daily_count[slot] + quota_cost[i];
        told[n] := i;
        told_used[n] := daily_count[slot];
      ELSE
        counter_used[-slot] := counter_used[-slot] + quota_cost[i];
      END IF;
      counted[n] := concat_ws(',', nullif(counted[n], ''), quota_counted[i]);
    END LOOP;
  END LOOP;

  -- Whoever would replay a row of this batch that was refused is refused with it.
  FOR n IN 1..size LOOP
    CONTINUE WHEN result[n] <> 'replayed';
    number := array_position(id, owner[n]);
    IF result[number] IN ('over', 'denied') THEN
      result[n] := result[number];
      denied[n] := denied[number];
      told[n] := told[number];
      told_used[n] := told_used[number];
    END IF;
  END LOOP;

  -- A place in the tenant's line. Only now is the time taken: whoever comes later in a line has the later time.
  SELECT array_agg(DISTINCT t ORDER BY t) INTO lines_of FROM unnest(tenant, result) u(t, r) WHERE r = 'queued';
  INSERT INTO lines (tenant_id) SELECT t FROM unnest(lines_of) t ORDER BY t ON CONFLICT DO NOTHING;
  FOR i IN 1..coalesce(array_length(lines_of, 1), 0) LOOP
    SELECT line_paced || l.paced_at, line_waiting || l.waiting, line_gap || l.gap_ms INTO line_paced, line_waiting, line_gap
      FROM lines l WHERE l.tenant_id = lines_of[i] FOR UPDATE;
  END LOOP;
  present := clock_timestamp();
  FOR i IN 1..coalesce(array_length(lines_of, 1), 0) LOOP
    -- Nobody may have sent for a while: then the first in the line goes now, and not at a slot that has passed.
    SELECT m.gap_ms INTO head FROM messages m
     WHERE m.tenant_id = lines_of[i] AND m.status = 'queued' AND m.gap_ms > 0 AND m.in_line
     ORDER BY m.priority, m.send_at, m.seq LIMIT 1;
    IF head IS NOT NULL THEN
      line_paced[i] := greatest(line_paced[i], present - make_interval(secs => head / 1000.0));
    END IF;
  END LOOP;
  FOR n IN 1..size LOOP
    CONTINUE WHEN result[n] <> 'queued';
    line := array_position(lines_of, tenant[n]) - 1;
    p := priority[n];
    later[n] := coalesce(send_at[n] > present, false);
    who := tenant[n];
    whom := recipient[n];
    due := coalesce(send_at[n], present);
    before[n] := 0;
    stretch := gap[n];
    FOR i IN 1..p LOOP
      before[n] := before[n] + line_waiting[line * 6 + 3 + i];
      IF gap[n] > 0 THEN
        before[n] := before[n] + line_waiting[line * 6 + i];
        stretch := stretch + line_gap[line * 3 + i];
      END IF;
    END LOOP;
    IF gap[n] = 0 THEN
      -- It overtakes the line, but not what was queued for the same recipient.
      expected[n] := (
        SELECT greatest(present, due, max(last.expected_at))
        FROM (SELECT m.expected_at FROM messages m
               WHERE m.tenant_id = who AND m.recipient = whom AND m.status IN ('queued', 'sending')
                 AND m.priority <= p AND m.in_line
               ORDER BY m.priority DESC, m.send_at DESC, m.seq DESC LIMIT 1) last);
    ELSE
      IF NOT later[n] AND line_waiting[line * 6 + 1] + line_waiting[line * 6 + 2] + line_waiting[line * 6 + 3] = 0 THEN
        -- Nobody waits: the line's clock is set so that this one's slot is its gap after the last send, or now.
        line_paced[line + 1] := greatest(line_paced[line + 1], present - make_interval(secs => gap[n] / 1000.0));
      END IF;
      expected[n] := greatest(present, send_at[n], line_paced[line + 1] + make_interval(secs => stretch / 1000.0));
      IF later[n] THEN
        -- Those who come due just before it go first.
        expected[n] := (
          SELECT greatest(expected[n], max(e) + make_interval(secs => gap[n] / 1000.0))
          FROM (SELECT last.e FROM (SELECT m.expected_at AS e FROM messages m
                                     WHERE m.tenant_id = who AND m.status = 'queued' AND NOT m.in_line AND m.gap_ms > 0
                                       AND m.send_at <= due ORDER BY m.send_at DESC, m.seq DESC LIMIT 1) last
                 UNION ALL
                SELECT expected[j] FROM generate_series(1, n - 1) j
                 WHERE later[j] AND gap[j] > 0 AND tenant[j] = who AND send_at[j] <= due) earlier(e));
      END IF;
    END IF;
    IF NOT later[n] THEN
      send_at[n] := present;
      p := p + CASE WHEN gap[n] = 0 THEN 3 ELSE 0 END;
      line_waiting[line * 6 + p] := line_waiting[line * 6 + p] + 1;
      IF p <= 3 THEN line_gap[line * 3 + p] := line_gap[line * 3 + p] + gap[n]; END IF;
    END IF;
  END LOOP;

  -- Each counter and line is written once.
  UPDATE daily_limits d SET count = u.c, updated_at = CURRENT_TIMESTAMP
    FROM unnest(daily_id, daily_count) u(i, c) WHERE d.id = u.i AND d.count IS DISTINCT FROM u.c;
  IF counter_active IS NOT NULL THEN
    UPDATE quota_counters k SET used = counter_used[c.n]
      FROM ROWS FROM (jsonb_to_recordset(batch -> 'counters')
                      AS (tenant text, name text, period text, subject text, start timestamptz))
           WITH ORDINALITY c(tenant, name, period, subject, start, n)
     WHERE k.tenant_id = c.tenant AND k.name = c.name AND k.period = c.period AND k.subject = c.subject
       AND k.window_start = c.start AND k.used <> counter_used[c.n];
  END IF;
  UPDATE lines l SET paced_at = line_paced[n], waiting = line_waiting[n * 6 - 5:n * 6],
                     gap_ms = line_gap[n * 3 - 2:n * 3]
    FROM unnest(lines_of) WITH ORDINALITY u(t, n) WHERE l.tenant_id = u.t;
  FOR n IN 1..size LOOP  -- a refused request gives its key back
    CONTINUE WHEN result[n] NOT IN ('over', 'denied') OR client_ref[n] IS NULL;
    DELETE FROM idempotency_keys k WHERE k.message_id = id[n];
  END LOOP;
  INSERT INTO messages (id, tenant_id, recipient, kind, content, reply_to, mentions, client_ref, answers, priority, status,
                        created_at, send_at, expires_at, expected_at, ahead, in_line, gap_ms, gaps, quota_limit, quota_used,
                        quota_resets_at, waived, counted, explanation, history)
    SELECT r.id, r.tenant, r."to", r.kind, r.content, r.reply_to, r.mentions, r.client_ref, r.answers, r.priority, 'queued',
           present, send_at[n], r.expires_at, expected[n], before[n], NOT later[n], gap[n], r.gaps, quota_limit[told[n]], told_used[n],
           quota_resets_at[told[n]], waived_of[n]::text[], ('[' || counted[n] || ']')::jsonb,
           batch -> 'explanations' -> (r.explanation - 1), '[]'
      FROM ROWS FROM (jsonb_to_recordset(batch -> 'rows') AS (
             id uuid, tenant text, "to" text, kind text, content text, reply_to text, mentions text[], client_ref text,
             answers text, priority integer, expires_at timestamptz, gaps jsonb, explanation integer))
           WITH ORDINALITY r(id, tenant, "to", kind, content, reply_to, mentions, client_ref, answers, priority, expires_at,
                             gaps, explanation, n)
     WHERE result[n] = 'queued' ORDER BY n;

  RETURN QUERY
    SELECT n, result[n], coalesce(owner[n], u.i), CASE WHEN result[n] = 'queued' THEN 'queued' END, expected[n], before[n],
           names[quota_name[told[n]]], quota_limit[told[n]], told_used[n], quota_resets_at[told[n]], waived_of[n]::text[],
           denied[n]
      FROM unnest(id) WITH ORDINALITY u(i, n) WHERE result[n] <> 'replayed'
    UNION ALL
    SELECT n, 'replayed', owner[n], coalesce(m.status, 'unknown'), m.expected_at, m.ahead,
           CASE WHEN m.quota_limit IS NOT NULL THEN 'daily_limit' END, m.quota_limit, m.quota_used, m.quota_resets_at, m.waived,
           NULL
      FROM unnest(owner) WITH ORDINALITY u(o, n)
      LEFT JOIN LATERAL (SELECT * FROM messages x WHERE x.id = u.o AND x.tenant_id = tenant[n]) m ON true
     WHERE result[n] = 'replayed';
END $$;
