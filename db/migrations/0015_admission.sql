-- The door once more: one call admits a whole batch (core.paths.batch builds it), with the promises of admit_v1 (0003) and half of its work.
-- A batch is one flat object of columns. Lists of numbers, ids and times travel as array literals ('{1,2}'), which PostgreSQL reads
-- fastest, texts as JSON arrays. What repeats is sent once and referred to by its number, counted from 1:
--   tenants        of the whole batch
--   names          of plugins and quotas
--   explanations   what the plugins said
--   key_           tenant, digest|null                    credentials
--   daily_         tenant, recipient, day                 counters of daily_limits, sorted
--   counter_       tenant, name, period, subject, start   counters of quota_counters, sorted
-- per message:
--   ids, owners (of tenants), keys, recipients, kinds, contents, priorities, expiries, gaps ({plugin: ms}), says (of explanations)
--   lists                                                 those in which the recipient's membership matters
--   client_refs, fingerprints, send_ats, replies, answered, mentions       absent when no message of the batch has one
-- sorted by message:
--   deny_          row, mask                              refuses `row` when a list of the mask matches, whatever is waived
--   waive_         row, name, mask                        waives `name` for `row` when mask is 0 or a list of it matches
--   gap_           row, name, ms                          what a plugin asks to leave
--   quota_         row, name, slot, limit, cost, mask, resets_at, counted   slot > 0 is in daily_, slot < 0 in counter_
-- lists and masks are core.decisions.Listed: 1 whitelist, 2 wrote to us within 24 hours, 4 opted out.
--
-- Lock order, the same in every process: idempotency keys sorted, daily sorted, counters sorted, lines sorted, event_heads.
-- An id that exists is a replay, so any batch may be repeated when nobody knows whether it was committed.

-- In which of the lists asked for each recipient stands; `owners` are numbers of tenants.
CREATE FUNCTION lists_of(tenants text[], owners integer[], recipients text[], lists integer[]) RETURNS integer[]
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  RETURN ARRAY(
    SELECT CASE WHEN lists[n] & 1 <> 0 AND EXISTS (SELECT FROM whitelist w
                                                    WHERE w.tenant_id = tenants[owners[n]] AND w.phone_number = recipients[n])
                THEN 1 ELSE 0 END
         | CASE WHEN lists[n] & 2 <> 0 AND EXISTS (SELECT FROM incoming_messages i
                                                    WHERE i.tenant_id = tenants[owners[n]] AND i.chat = recipients[n]
                                                      AND i.at > now() - interval '24 hours')
                THEN 2 ELSE 0 END
         | CASE WHEN lists[n] & 4 <> 0 AND EXISTS (SELECT FROM opt_outs o
                                                    WHERE o.tenant_id = tenants[owners[n]] AND o.recipient = recipients[n]
                                                      AND o.back_at IS NULL)
                THEN 4 ELSE 0 END
      FROM generate_series(1, cardinality(lists)) n ORDER BY n);
END $$;

-- What became of each message, in order, as JSON text:
-- [[outcome, message_id, status|null, expected_at|null, ahead|null, [quota, limit, used, resets_at]|null, waived, denied|null], …]
CREATE FUNCTION admit_v2(batch jsonb) RETURNS text
LANGUAGE plpgsql
-- Planned once, and not at every call; and a plan made while the tables were small must not scan them when they have grown.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
  tenants text[];
  names text[];
  explanations jsonb;
  key_tenant integer[];
  key_digest text[];
  daily_tenant integer[];
  daily_recipient text[];
  daily_day date[];
  counter_tenant integer[];
  counter_name text[];
  counter_period text[];
  counter_subject text[];
  counter_start timestamptz[];

  ids uuid[];
  owners integer[];
  keys integer[];
  recipients text[];
  kinds text[];
  contents text[];
  priorities integer[];
  expiries timestamptz[];
  gaps jsonb[];
  says integer[];
  lists integer[];
  client_refs text[];
  fingerprints text[];
  send_ats timestamptz[];
  replies text[];
  answered text[];
  mentions jsonb;

  deny_row integer[];
  deny_mask integer[];
  waive_row integer[];
  waive_name integer[];
  waive_mask integer[];
  gap_row integer[];
  gap_name integer[];
  gap_ms integer[];
  quota_row integer[];
  quota_name integer[];
  quota_slot integer[];
  quota_limit integer[];
  quota_cost integer[];
  quota_mask integer[];
  quota_resets_at timestamptz[];
  quota_counted jsonb;

  size integer;
  alive boolean[];
  stored uuid[];           -- messages of the batch that are there already
  lined text[];            -- tenants of the batch that have a line
  listed integer[];
  holders uuid[];          -- the message that has the row's idempotency key, or the row's own id when it is stored already
  same boolean[];          -- the key was used for the same request
  result text[];
  denied integer[];        -- which of the row's conditional denies holds: the first, counted from 1
  waived_of text[];        -- an array of names, in its text form; null: none
  gap integer[];
  told integer[];          -- the quota that is told of: the daily limit, or the one that is used up
  told_used integer[];
  counted jsonb[];
  before integer[];
  expected timestamptz[];
  answers text[];          -- to replays
  later boolean[];         -- not due yet: stands in no line

  daily_want bigint[];     -- what all messages together would count
  daily_used integer[];
  counter_want bigint[];
  counter_used integer[];
  waiting_tenants text[];
  line_of integer[];       -- per tenant; null: nothing is queued for it
  line_tenant text[];
  line_paced timestamptz[];
  line_waiting integer[];  -- line, lane
  line_gap bigint[];       -- line, priority

  kept integer;
  present timestamptz;
  known record;
  first_quota integer;
  slot integer;
  used integer;
  number integer;
  line integer;
  stretch bigint;
  stands integer;
  own_gap integer;
  head integer;
  who text;
  whom text;
  due timestamptz;
  n integer;
  q integer;
  p integer;
BEGIN
  SELECT x.* INTO tenants, names, explanations, key_tenant, key_digest, daily_tenant, daily_recipient, daily_day,
         counter_tenant, counter_name, counter_period, counter_subject, counter_start,
         ids, owners, keys, recipients, kinds, contents, priorities, expiries, gaps, says, lists,
         client_refs, fingerprints, send_ats, replies, answered, mentions,
         deny_row, deny_mask, waive_row, waive_name, waive_mask, gap_row, gap_name, gap_ms,
         quota_row, quota_name, quota_slot, quota_limit, quota_cost, quota_mask, quota_resets_at, quota_counted
    FROM jsonb_to_record(batch) AS x(
         tenants text[], names text[], explanations jsonb, key_tenant integer[], key_digest text[],
         daily_tenant integer[], daily_recipient text[], daily_day date[],
         counter_tenant integer[], counter_name text[], counter_period text[], counter_subject text[], counter_start timestamptz[],
         ids uuid[], owners integer[], keys integer[], recipients text[], kinds text[], contents text[], priorities integer[],
         expiries timestamptz[], gaps jsonb[], says integer[], lists integer[],
         client_refs text[], fingerprints text[], send_ats timestamptz[], replies text[], answered text[], mentions jsonb,
         deny_row integer[], deny_mask integer[], waive_row integer[], waive_name integer[], waive_mask integer[],
         gap_row integer[], gap_name integer[], gap_ms integer[],
         quota_row integer[], quota_name integer[], quota_slot integer[], quota_limit integer[], quota_cost integer[],
         quota_mask integer[], quota_resets_at timestamptz[], quota_counted jsonb);
  size := cardinality(ids);
  -- A key is looked up by the index on the digest, so that none is made. A line is never deleted: what is seen here stays.
  SELECT ARRAY(SELECT CASE WHEN key_digest[k] IS NULL
                           THEN EXISTS (SELECT FROM api_keys a WHERE a.tenant_id = tenants[key_tenant[k]])
                           ELSE tenants[key_tenant[k]] IN (SELECT a.tenant_id FROM api_keys a
                                                            WHERE key_digest(a.api_key) = key_digest[k]) END
                 FROM generate_series(1, cardinality(key_tenant)) k),
         ARRAY(SELECT m.id FROM messages m WHERE m.id = ANY (ids)),
         ARRAY(SELECT l.tenant_id FROM lines l WHERE l.tenant_id = ANY (tenants))
    INTO alive, stored, lined;
  IF lists IS NOT NULL THEN
    listed := lists_of(tenants, owners, recipients, lists);
  END IF;
  FOR i IN 1..cardinality(stored) LOOP
    number := array_position(ids, stored[i]);
    holders[number] := stored[i];
    same[number] := true;
  END LOOP;

  -- A concurrent insert of the same key is waited for; what it left is read by the next statement's snapshot.
  IF client_refs IS NOT NULL THEN
    INSERT INTO idempotency_keys (tenant_id, client_ref, fingerprint, message_id)
      SELECT tenants[owners[n]], client_refs[n], fingerprints[n], ids[n] FROM generate_series(1, size) n
       WHERE client_refs[n] IS NOT NULL AND alive[keys[n]] ORDER BY 1, 2
      ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS kept = ROW_COUNT;
    IF kept < cardinality(array_remove(client_refs, NULL)) THEN
      FOR known IN
        SELECT n, k.message_id AS holder, k.fingerprint = fingerprints[n] AS is_same
          FROM generate_series(1, size) n
          JOIN idempotency_keys k ON k.tenant_id = tenants[owners[n]] AND k.client_ref = client_refs[n]
         WHERE holders[n] IS NULL AND k.message_id <> ids[n]
      LOOP
        holders[known.n] := known.holder;
        same[known.n] := known.is_same;
      END LOOP;
    END IF;
  END IF;

  -- What each row is waived, which gap it keeps and which quotas bind it: the others lose their slot.
  result := array_fill('queued'::text, ARRAY[size]);
  IF holders IS NOT NULL OR false = ANY (alive) THEN
    FOR n IN 1..size LOOP
      result[n] := CASE WHEN holders[n] = ids[n] THEN 'replayed'  -- this very batch, repeated
                        WHEN NOT alive[keys[n]] THEN 'revoked'
                        WHEN holders[n] IS NULL THEN 'queued'
                        WHEN same[n] THEN 'replayed' ELSE 'conflict' END;
    END LOOP;
  END IF;
  FOR d IN 1..coalesce(cardinality(deny_row), 0) LOOP
    n := deny_row[d];
    IF deny_mask[d] & listed[n] <> 0 AND result[n] = 'queued' THEN
      result[n] := 'denied';
      denied[n] := d - array_position(deny_row, n) + 1;
    END IF;
  END LOOP;
  FOR w IN 1..coalesce(cardinality(waive_row), 0) LOOP
    IF waive_mask[w] = 0 OR waive_mask[w] & listed[waive_row[w]] <> 0 THEN
      n := waive_row[w];
      who := names[waive_name[w]];
      IF waived_of[n] IS NULL OR who <> ALL (waived_of[n]::text[]) THEN
        waived_of[n] := (waived_of[n]::text[] || who)::text;
      END IF;
    END IF;
  END LOOP;
  gap := array_fill(0, ARRAY[size]);
  FOR g IN 1..coalesce(cardinality(gap_row), 0) LOOP
    n := gap_row[g];
    IF gap_ms[g] > gap[n] AND (waived_of[n] IS NULL OR names[gap_name[g]] <> ALL (waived_of[n]::text[])) THEN
      gap[n] := gap_ms[g];
    END IF;
  END LOOP;
  FOR q IN 1..coalesce(cardinality(quota_row), 0) LOOP
    n := quota_row[q];
    slot := quota_slot[q];
    IF result[n] <> 'queued' OR (quota_mask[q] = 0 OR quota_mask[q] & listed[n] <> 0) IS NOT TRUE
       OR names[quota_name[q]] = ANY (waived_of[n]::text[]) THEN
      quota_slot[q] := NULL;
    ELSIF slot > 0 THEN
      daily_want[slot] := least(coalesce(daily_want[slot], 0) + quota_cost[q], 1000000);
    ELSE
      counter_want[-slot] := least(coalesce(counter_want[-slot], 0) + quota_cost[q], 1000000);
    END IF;
  END LOOP;

  -- Counters are made and locked in one order: two batches never wait for each other in a circle. Each is raised at once by what all
  -- messages want of it, which is right nearly always, and written again below where it is not. The rows come back in the order in
  -- which they went in.
  IF daily_want IS NOT NULL THEN
    slot := 0;
    FOR used IN
      INSERT INTO daily_limits AS l (tenant_id, phone_number, date, count)
        SELECT tenants[daily_tenant[n]], daily_recipient[n], daily_day[n], daily_want[n]
          FROM generate_subscripts(daily_want, 1) n WHERE daily_want[n] IS NOT NULL
        ON CONFLICT (tenant_id, phone_number, date) DO UPDATE
          SET count = least(coalesce(l.count, 0), 2147483647 - EXCLUDED.count) + EXCLUDED.count, updated_at = EXCLUDED.updated_at
        RETURNING count
    LOOP
      LOOP slot := slot + 1; EXIT WHEN daily_want[slot] IS NOT NULL; END LOOP;
      daily_used[slot] := used - daily_want[slot];
    END LOOP;
  END IF;
  IF counter_want IS NOT NULL THEN
    slot := 0;
    FOR used IN
      INSERT INTO quota_counters AS k (tenant_id, name, period, subject, window_start, used)
        SELECT tenants[counter_tenant[n]], counter_name[n], counter_period[n], counter_subject[n], counter_start[n], counter_want[n]
          FROM generate_subscripts(counter_want, 1) n WHERE counter_want[n] IS NOT NULL
        ON CONFLICT (tenant_id, name, period, subject, window_start) DO UPDATE
          SET used = least(k.used, 2147483647 - EXCLUDED.used) + EXCLUDED.used
        RETURNING k.used
    LOOP
      LOOP slot := slot + 1; EXIT WHEN counter_want[slot] IS NOT NULL; END LOOP;
      counter_used[slot] := used - counter_want[slot];
    END LOOP;
  END IF;

  -- In order, over the locked values: all quotas of a row fit, or none is counted. A counter that two of them share counts once.
  -- Of what was wanted, what is counted is taken off: what remains was counted too much.
  q := 1;
  FOR n IN 1..size LOOP
    first_quota := q;
    WHILE quota_row[q] = n LOOP
      slot := quota_slot[q];
      used := CASE WHEN slot > 0 THEN daily_used[slot] ELSE counter_used[-slot] END;
      IF quota_limit[q] - used < quota_cost[q] AND result[n] = 'queued' THEN
        result[n] := 'over';
        told[n] := q;
        told_used[n] := used;
      END IF;
      q := q + 1;
    END LOOP;
    CONTINUE WHEN result[n] <> 'queued';
    IF line_of[owners[n]] IS NULL THEN
      line_of[owners[n]] := 0;
      waiting_tenants := waiting_tenants || tenants[owners[n]];
    END IF;
    FOR i IN first_quota..q - 1 LOOP
      slot := quota_slot[i];
      CONTINUE WHEN slot IS NULL OR (i > first_quota AND slot = ANY (quota_slot[first_quota:i - 1]));
      IF slot > 0 THEN
        daily_used[slot] := daily_used[slot] + quota_cost[i];
        daily_want[slot] := daily_want[slot] - quota_cost[i];
        told[n] := i;
        told_used[n] := daily_used[slot];
      ELSE
        counter_used[-slot] := counter_used[-slot] + quota_cost[i];
        counter_want[-slot] := counter_want[-slot] - quota_cost[i];
      END IF;
      counted[n] := CASE WHEN counted[n] IS NULL THEN quota_counted -> (i - 1) ELSE counted[n] || (quota_counted -> (i - 1)) END;
    END LOOP;
  END LOOP;
  IF 0 <> ANY (daily_want) THEN
    UPDATE daily_limits l SET count = daily_used[n]
      FROM generate_subscripts(daily_want, 1) n
     WHERE daily_want[n] <> 0
       AND l.tenant_id = tenants[daily_tenant[n]] AND l.phone_number = daily_recipient[n] AND l.date = daily_day[n];
  END IF;
  IF 0 <> ANY (counter_want) THEN
    UPDATE quota_counters k SET used = counter_used[n]
      FROM generate_subscripts(counter_want, 1) n
     WHERE counter_want[n] <> 0
       AND k.tenant_id = tenants[counter_tenant[n]] AND k.name = counter_name[n] AND k.period = counter_period[n]
       AND k.subject = counter_subject[n] AND k.window_start = counter_start[n];
  END IF;

  -- Whoever would replay a row of this batch that was refused is refused with it; and a refused request gives its key back.
  IF client_refs IS NOT NULL THEN
    FOR n IN 1..size LOOP
      CONTINUE WHEN result[n] <> 'replayed';
      number := array_position(ids, holders[n]);
      IF result[number] IN ('over', 'denied') THEN
        result[n] := result[number];
        denied[n] := denied[number];
        told[n] := told[number];
        told_used[n] := told_used[number];
      END IF;
    END LOOP;
    IF result && ARRAY['over', 'denied'] THEN
      DELETE FROM idempotency_keys k
       WHERE k.message_id = ANY (ARRAY(SELECT ids[n] FROM generate_series(1, size) n
                                        WHERE result[n] IN ('over', 'denied') AND client_refs[n] IS NOT NULL));
    END IF;
  END IF;

  IF waiting_tenants IS NOT NULL THEN
    -- A place in the tenant's line. Only now is the time taken: whoever comes later in a line has the later time.
    IF NOT waiting_tenants <@ lined THEN
      INSERT INTO lines (tenant_id) SELECT t FROM unnest(waiting_tenants) t ORDER BY t ON CONFLICT DO NOTHING;
    END IF;
    SELECT array_agg(l.tenant_id), array_agg(l.paced_at), array_agg(l.waiting), array_agg(l.gap_ms)
      INTO line_tenant, line_paced, line_waiting, line_gap
      FROM (SELECT * FROM lines WHERE tenant_id = ANY (waiting_tenants) ORDER BY tenant_id FOR UPDATE) l;
    present := clock_timestamp();
    FOR i IN 1..cardinality(line_tenant) LOOP
      line_of[array_position(tenants, line_tenant[i])] := i;
      -- Nobody may have sent for a while: then the first in the line goes now, and not at a slot that has passed.
      SELECT m.gap_ms INTO head FROM messages m
       WHERE m.tenant_id = line_tenant[i] AND m.status = 'queued' AND m.gap_ms > 0 AND m.in_line
       ORDER BY m.priority, m.send_at, m.seq LIMIT 1;
      IF head IS NOT NULL THEN
        line_paced[i] := greatest(line_paced[i], present - head * interval '1 ms');
      END IF;
    END LOOP;
  END IF;
  FOR n IN 1..size LOOP
    CONTINUE WHEN result[n] <> 'queued';
    line := line_of[owners[n]];
    p := priorities[n];
    own_gap := gap[n];
    due := send_ats[n];
    later[n] := due > present;
    stands := 0;
    stretch := own_gap;
    FOR i IN 1..p LOOP
      stands := stands + line_waiting[line][3 + i] + CASE WHEN own_gap > 0 THEN line_waiting[line][i] ELSE 0 END;
      stretch := stretch + line_gap[line][i];
    END LOOP;
    before[n] := stands;
    IF own_gap = 0 THEN
      -- It overtakes the line, but not what was queued for the same recipient.
      who := line_tenant[line];
      whom := recipients[n];
      expected[n] := (
        SELECT greatest(present, due, max(last.expected_at))
        FROM (SELECT m.expected_at FROM messages m
               WHERE m.tenant_id = who AND m.recipient = whom AND m.status IN ('queued', 'sending')
                 AND m.priority <= p AND m.in_line
               ORDER BY m.priority DESC, m.send_at DESC, m.seq DESC LIMIT 1) last);
    ELSE
      IF line_waiting[line][1] + line_waiting[line][2] + line_waiting[line][3] = 0 AND later[n] IS NOT TRUE THEN
        -- Nobody waits: the line's clock is set so that this one's slot is its gap after the last send, or now.
        line_paced[line] := greatest(line_paced[line], present - own_gap * interval '1 ms');
      END IF;
      expected[n] := greatest(present, due, line_paced[line] + stretch * interval '1 ms');
      IF later[n] THEN
        -- Those who come due just before it go first.
        who := line_tenant[line];
        expected[n] := (
          SELECT greatest(expected[n], max(e) + own_gap * interval '1 ms')
          FROM (SELECT last.e FROM (SELECT m.expected_at AS e FROM messages m
                                     WHERE m.tenant_id = who AND m.status = 'queued' AND NOT m.in_line AND m.gap_ms > 0
                                       AND m.send_at <= due ORDER BY m.send_at DESC, m.seq DESC LIMIT 1) last
                 UNION ALL
                SELECT expected[j] FROM generate_series(1, n - 1) j
                 WHERE later[j] AND gap[j] > 0 AND owners[j] = owners[n] AND send_ats[j] <= due) earlier(e));
      END IF;
    END IF;
    IF later[n] IS NOT TRUE THEN
      IF own_gap = 0 THEN
        line_waiting[line][3 + p] := line_waiting[line][3 + p] + 1;
      ELSE
        line_waiting[line][p] := line_waiting[line][p] + 1;
        line_gap[line][p] := line_gap[line][p] + own_gap;
      END IF;
    END IF;
  END LOOP;

  IF waiting_tenants IS NOT NULL THEN
    UPDATE lines l SET paced_at = line_paced[n], waiting = ARRAY(SELECT unnest(line_waiting[n:n])), gap_ms = ARRAY(SELECT unnest(line_gap[n:n]))
      FROM generate_series(1, cardinality(line_tenant)) n WHERE l.tenant_id = line_tenant[n];
    -- The rows of a series come in its order: so do the messages, and their seq.
    INSERT INTO messages (id, tenant_id, recipient, kind, content, reply_to, mentions, client_ref, answers, priority, status,
                          created_at, send_at, expires_at, expected_at, ahead, in_line, gap_ms, gaps, quota_limit, quota_used,
                          quota_resets_at, waived, counted, explanation, history)
      SELECT ids[n], tenants[owners[n]], recipients[n], kinds[n], contents[n], replies[n],
             CASE WHEN mentions IS NULL THEN '{}' ELSE jsonb_texts(mentions -> (n - 1)) END,
             client_refs[n], answered[n], priorities[n], 'queued',
             present, CASE WHEN later[n] THEN send_ats[n] ELSE present END, expiries[n], expected[n], before[n],
             later[n] IS NOT TRUE, gap[n], gaps[n], quota_limit[told[n]], told_used[n],
             quota_resets_at[told[n]], coalesce(waived_of[n]::text[], '{}'), coalesce(counted[n], '[]'), explanations -> (says[n] - 1), '[]'
        FROM generate_series(1, size) n WHERE result[n] = 'queued';
  END IF;

  -- Of a replay the message itself is told.
  IF 'replayed' = ANY (result) THEN
    FOR known IN
      SELECT n, json_build_array('replayed', holders[n], coalesce(m.status, 'unknown'), m.expected_at, m.ahead,
                                 CASE WHEN m.quota_limit IS NOT NULL
                                      THEN json_build_array('daily_limit', m.quota_limit, m.quota_used, m.quota_resets_at) END,
                                 coalesce(m.waived, '{}'), NULL)::text AS answer
        FROM generate_series(1, size) n
        LEFT JOIN LATERAL (SELECT * FROM messages x WHERE x.id = holders[n] AND x.tenant_id = tenants[owners[n]]) m ON true
       WHERE result[n] = 'replayed'
    LOOP
      answers[known.n] := known.answer;
    END LOOP;
  END IF;
  RETURN (
    SELECT '[' || string_agg(coalesce(answers[n],
             json_build_array(result[n], coalesce(holders[n], ids[n]), CASE WHEN result[n] = 'queued' THEN 'queued' END,
                              expected[n], before[n],
                              CASE WHEN told[n] IS NOT NULL
                                   THEN json_build_array(names[quota_name[told[n]]], quota_limit[told[n]], told_used[n],
                                                         quota_resets_at[told[n]]) END,
                              coalesce(waived_of[n]::text[], '{}'), denied[n])::text), ',') || ']'
      FROM generate_series(1, size) n);
END $$;

-- As before (0010), with less ado: a batch's events take their numbers at once. The rows of `fresh` come in the order in which they were
-- inserted, which is that of their seq.
CREATE OR REPLACE FUNCTION messages_queued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  WITH heads AS (
         INSERT INTO event_heads AS h (tenant_id, last) SELECT m.tenant_id, count(*) FROM fresh m GROUP BY 1 ORDER BY 1
         ON CONFLICT (tenant_id) DO UPDATE SET last = h.last + EXCLUDED.last RETURNING h.tenant_id, h.last)
  INSERT INTO events (tenant_id, seq, type, at, chat, outgoing)
    SELECT h.tenant_id, h.last - m.many + m.number, 'message.' || m.status, clock_timestamp(), m.recipient, m.id
      FROM heads h CROSS JOIN LATERAL (
        SELECT f.status, f.recipient, f.id, row_number() OVER () AS number, count(*) OVER () AS many
          FROM fresh f WHERE f.tenant_id = h.tenant_id) m;
  RETURN NULL;
END $$;
