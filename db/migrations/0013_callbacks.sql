-- Events to the URLs that tenants name. An endpoint is a name in the tenant's YAML; here is how far it got.
CREATE TABLE callback_cursors (
  tenant_id   varchar(100) NOT NULL,
  endpoint    varchar(60) NOT NULL,
  seq         bigint NOT NULL,             -- the events up to here have become deliveries
  width       smallint NOT NULL DEFAULT 1, -- how many posts may be under way: 1, 2, 4 as they succeed
  failures    integer NOT NULL DEFAULT 0,  -- in a row
  rests_until timestamptz NOT NULL DEFAULT '-infinity',
  PRIMARY KEY (tenant_id, endpoint)
);

-- Whoever changes a delivery holds its endpoint's row of callback_cursors. Invariant: of the pending deliveries of one endpoint and chat
-- all but the first are `held`; so those of a chat go out one after the other, and finding the next ones is no search.
CREATE TABLE callback_deliveries (
  id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),  -- the webhook-id, the same at every try
  tenant_id   varchar(100) NOT NULL,
  endpoint    varchar(60) NOT NULL,
  seq         bigint NOT NULL,             -- of the event
  type        text NOT NULL,
  chat        varchar(50) NOT NULL,        -- '' for what is of no chat: that is a line of its own
  at          timestamptz NOT NULL,        -- when the event was
  status      text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'dead')),
  held        boolean NOT NULL,
  tries       integer NOT NULL DEFAULT 0,
  next_at     timestamptz NOT NULL DEFAULT now(),
  until       timestamptz NOT NULL DEFAULT clock_timestamp() + interval '24 hours',  -- then it is dead
  process     integer,                     -- who is posting it
  last_try_at timestamptz,
  last_status integer,
  last_error  text,
  UNIQUE (tenant_id, endpoint, seq)
);
CREATE INDEX callback_deliveries_next ON callback_deliveries (tenant_id, endpoint, seq) WHERE status = 'pending' AND NOT held;
CREATE INDEX callback_deliveries_chat ON callback_deliveries (tenant_id, endpoint, chat, seq) WHERE status = 'pending';
CREATE INDEX callback_deliveries_until ON callback_deliveries (until) WHERE status = 'pending';
CREATE INDEX callback_deliveries_taken ON callback_deliveries (tenant_id, endpoint) WHERE status = 'pending' AND process IS NOT NULL;
CREATE INDEX callback_deliveries_dead ON callback_deliveries (tenant_id, endpoint, seq) WHERE status = 'dead';
CREATE INDEX callback_deliveries_age ON callback_deliveries (at) WHERE status <> 'pending';
CREATE INDEX callback_deliveries_list ON callback_deliveries (tenant_id, seq DESC, endpoint DESC);

-- Endpoints that are new begin behind the last event before `age` ago, and not with those of thirty days.
CREATE FUNCTION begin_callbacks_v1(tenants text[], endpoints text[], age interval) RETURNS void LANGUAGE sql AS $$
  INSERT INTO callback_cursors (tenant_id, endpoint, seq)
    SELECT n.tenant, n.endpoint,
           coalesce((SELECT e.seq FROM events e WHERE e.tenant_id = n.tenant AND e.at < clock_timestamp() - age ORDER BY e.seq DESC LIMIT 1), 0)
      FROM unnest(tenants, endpoints) n (tenant, endpoint) ORDER BY 1, 2
  ON CONFLICT DO NOTHING
$$;

-- Which of these endpoints have something to be sent, or no cursor yet.
CREATE FUNCTION callbacks_due_v1(tenants text[], endpoints text[]) RETURNS TABLE (tenant text, endpoint text)
LANGUAGE sql STABLE SET enable_seqscan = off AS $$
  WITH alive AS MATERIALIZED (SELECT live_processes() AS number)
  SELECT n.tenant, n.endpoint
    FROM unnest(tenants, endpoints) n (tenant, endpoint)
    LEFT JOIN callback_cursors c ON c.tenant_id = n.tenant AND c.endpoint = n.endpoint
   WHERE c.seq IS NULL
      OR EXISTS (SELECT FROM events e WHERE e.tenant_id = n.tenant AND e.seq > c.seq)
      OR c.rests_until <= clock_timestamp()
         AND EXISTS (SELECT FROM callback_deliveries d
                      WHERE d.tenant_id = n.tenant AND d.endpoint = n.endpoint AND d.status = 'pending' AND NOT d.held
                        AND d.next_at <= clock_timestamp() AND (d.process IS NULL OR d.process NOT IN (SELECT number FROM alive)))
$$;

-- `held`, made anew for one endpoint after more than one delivery changed.
CREATE FUNCTION order_callbacks(who text, where_to text) RETURNS void LANGUAGE sql AS $$
  UPDATE callback_deliveries d SET held = o.held
    FROM (SELECT x.id, row_number() OVER (PARTITION BY x.chat ORDER BY x.seq) > 1 AS held
            FROM callback_deliveries x WHERE x.tenant_id = who AND x.endpoint = where_to AND x.status = 'pending') o
   WHERE d.id = o.id AND d.held <> o.held
$$;

-- The endpoint's events since last time become deliveries (types: LIKE patterns), and up to `most` of what may be posted now are
-- this process's. `in_hand`: those that it is posting; whatever else has its number, or that of a dead process, is free again.
-- A row without an id says whether the endpoint may be sent more than this; rows that are `dead` now are to be told. No row: the
-- endpoint has not begun.
CREATE FUNCTION claim_callbacks_v1(who text, where_to text, types text[], by_process integer, in_hand uuid[], most integer)
RETURNS TABLE (id uuid, seq bigint, type text, tries integer, failures integer, time_left double precision, is_dead boolean, is_full boolean)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  present timestamptz := clock_timestamp();
  c callback_cursors;
  taken integer;
BEGIN
  SELECT x.* INTO c FROM callback_cursors x WHERE x.tenant_id = who AND x.endpoint = where_to FOR UPDATE;
  IF NOT FOUND THEN RETURN; END IF;

  WITH news AS MATERIALIZED (
         SELECT e.seq, e.type, coalesce(e.chat, '') AS chat, e.at FROM events e
          WHERE e.tenant_id = who AND e.seq > c.seq ORDER BY e.seq LIMIT 500),
       fresh AS (
         INSERT INTO callback_deliveries (tenant_id, endpoint, seq, type, chat, at, held)
           SELECT who, where_to, n.seq, n.type, n.chat, n.at,
                  row_number() OVER (PARTITION BY n.chat ORDER BY n.seq) > 1
                  OR EXISTS (SELECT FROM callback_deliveries d
                              WHERE d.tenant_id = who AND d.endpoint = where_to AND d.chat = n.chat AND d.status = 'pending')
             FROM news n WHERE n.type LIKE ANY (types))
  UPDATE callback_cursors x SET seq = n.last FROM (SELECT max(seq) AS last FROM news) n
   WHERE x.tenant_id = who AND x.endpoint = where_to AND n.last IS NOT NULL;

  UPDATE callback_deliveries d SET process = NULL
   WHERE d.tenant_id = who AND d.endpoint = where_to AND d.status = 'pending' AND d.process IS NOT NULL AND d.id <> ALL (in_hand)
     AND (d.process = by_process OR d.process NOT IN (SELECT live_processes()));

  -- Each is tried once at least, unless the endpoint has failed all the time.
  RETURN QUERY
  UPDATE callback_deliveries d SET status = 'dead', last_error = coalesce(d.last_error, 'the endpoint failed for all the time it had')
   WHERE d.tenant_id = who AND d.endpoint = where_to AND d.status = 'pending' AND d.until <= present AND d.process IS NULL
     AND (d.tries > 0 OR c.failures >= 3)
  RETURNING d.id, d.seq, d.type, d.tries, c.failures, 0::double precision, true, false;
  IF FOUND THEN PERFORM order_callbacks(who, where_to); END IF;

  SELECT count(*) INTO taken FROM callback_deliveries d
   WHERE d.tenant_id = who AND d.endpoint = where_to AND d.status = 'pending' AND d.process IS NOT NULL;
  IF c.rests_until > present THEN taken := c.width; END IF;
  RETURN QUERY
  UPDATE callback_deliveries d SET process = by_process
   WHERE d.id IN (SELECT x.id FROM callback_deliveries x
                   WHERE x.tenant_id = who AND x.endpoint = where_to AND x.status = 'pending' AND NOT x.held AND x.process IS NULL
                     AND x.next_at <= present
                   ORDER BY x.seq LIMIT greatest(least(most, c.width - taken), 0))
  RETURNING d.id, d.seq, d.type, d.tries, c.failures, extract(epoch FROM d.until - present)::double precision, false, false;
  GET DIAGNOSTICS taken = ROW_COUNT;
  RETURN QUERY SELECT NULL::uuid, NULL::bigint, NULL::text, NULL::integer, c.failures, NULL::double precision, false,
                      (SELECT count(*) FROM callback_deliveries d WHERE d.tenant_id = who AND d.endpoint = where_to
                          AND d.status = 'pending' AND d.process IS NOT NULL) >= c.width;
END $$;

-- What came of a post, if the delivery is still this process's. A success lets twice as many be under way, up to 4, and after failures
-- frees those that have waited only because the endpoint was down; three failures in a row, and one post at a time is tried.
CREATE FUNCTION record_callback_v1(which uuid, by_process integer, becomes text, http_status integer, problem text,
                                   wait interval, rest interval) RETURNS boolean LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  present timestamptz := clock_timestamp();
  d callback_deliveries;
  was_down boolean;
BEGIN
  SELECT x.* INTO d FROM callback_deliveries x WHERE x.id = which;
  SELECT c.failures >= 3 INTO was_down FROM callback_cursors c WHERE c.tenant_id = d.tenant_id AND c.endpoint = d.endpoint FOR UPDATE;
  UPDATE callback_deliveries x
     SET status = becomes, tries = x.tries + 1, process = NULL, last_try_at = present, last_status = http_status, last_error = problem,
         next_at = present + wait
   WHERE x.id = which AND x.process = by_process AND x.status = 'pending';
  IF NOT FOUND THEN RETURN false; END IF;
  IF becomes <> 'pending' THEN
    UPDATE callback_deliveries x SET held = false
     WHERE x.id = (SELECT y.id FROM callback_deliveries y
                    WHERE y.tenant_id = d.tenant_id AND y.endpoint = d.endpoint AND y.chat = d.chat AND y.status = 'pending'
                    ORDER BY y.seq LIMIT 1);
  END IF;
  IF becomes = 'delivered' THEN
    UPDATE callback_cursors c SET failures = 0, width = least(c.width * 2, 4) WHERE c.tenant_id = d.tenant_id AND c.endpoint = d.endpoint;
    IF was_down THEN
      UPDATE callback_deliveries x SET next_at = present
       WHERE x.tenant_id = d.tenant_id AND x.endpoint = d.endpoint AND x.status = 'pending' AND NOT x.held AND x.next_at > present;
    END IF;
  ELSE
    UPDATE callback_cursors c
       SET failures = c.failures + 1, width = CASE WHEN c.failures >= 2 THEN 1 ELSE greatest(c.width / 2, 1) END,
           rests_until = greatest(c.rests_until, present + rest)
     WHERE c.tenant_id = d.tenant_id AND c.endpoint = d.endpoint;
  END IF;
  RETURN true;
END $$;

-- Try these again, for another day; only what is not pending. The gateways hear whose they are.
CREATE FUNCTION redeliver_callbacks_v1(ids uuid[]) RETURNS integer LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  e record;
  changed integer := 0;
  here integer;
BEGIN
  FOR e IN SELECT DISTINCT d.tenant_id, d.endpoint FROM callback_deliveries d WHERE d.id = ANY (ids) ORDER BY 1, 2 LOOP
    PERFORM FROM callback_cursors c WHERE c.tenant_id = e.tenant_id AND c.endpoint = e.endpoint FOR UPDATE;
    UPDATE callback_deliveries d SET status = 'pending', tries = 0, next_at = DEFAULT, until = DEFAULT, process = NULL
     WHERE d.id = ANY (ids) AND d.tenant_id = e.tenant_id AND d.endpoint = e.endpoint AND d.status <> 'pending';
    GET DIAGNOSTICS here = ROW_COUNT;
    changed := changed + here;
    PERFORM order_callbacks(e.tenant_id, e.endpoint);
    PERFORM pg_notify('gapura_events', e.tenant_id);
  END LOOP;
  RETURN changed;
END $$;

-- What is old goes, and what nobody tries any more (its endpoint is in no YAML) is dead. What is pending stays however old its event is:
-- others of its chat are held behind it. How many went, at most `most`.
CREATE FUNCTION forget_callbacks_v1(older_than interval, most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  e record;
  alive integer[] := ARRAY(SELECT live_processes());
  gone integer;
BEGIN
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
   WHERE d.id IN (SELECT x.id FROM callback_deliveries x WHERE x.at < now() - older_than AND x.status <> 'pending' LIMIT most);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END $$;
