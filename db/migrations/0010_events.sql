-- Whatever happens to a tenant is a row in `events`, written in the statement that makes it happen.
--
-- A tenant's events are numbered from 1 without a gap, in the order in which they were committed: whoever writes one takes its number
-- from the tenant's row of event_heads, which stays locked until the commit. So nobody who has read up to a number has missed one
-- below it. Lock order: event_heads is the last lock that a transaction takes; so a function changes what is told here (the status of
-- messages, the state of sessions) after it has locked and changed everything else.
CREATE TABLE event_heads (
  tenant_id varchar(100) PRIMARY KEY,
  last      bigint NOT NULL
);
CREATE TABLE events (
  tenant_id varchar(100) NOT NULL,
  seq       bigint NOT NULL,
  type      text NOT NULL,                 -- message.<status>, message.received, session.<state>, …
  at        timestamptz NOT NULL,
  chat      varchar(50),                   -- a recipient key: what concerns one chat is told in order
  outgoing  uuid,                          -- of messages
  incoming  text,                          -- of incoming_messages
  data      jsonb,                         -- what these rows do not tell
  PRIMARY KEY (tenant_id, seq)
);
CREATE INDEX events_age ON events USING brin (at);

-- Number these and write them down; their own seq and at are not looked at. `aloud`: the gateways hear whose they are.
CREATE FUNCTION tell_v1(news events[], aloud boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF news IS NULL THEN RETURN; END IF;
  WITH fresh AS MATERIALIZED (
         SELECT n.*, row_number() OVER (PARTITION BY n.tenant_id ORDER BY n.place) AS number, count(*) OVER (PARTITION BY n.tenant_id) AS many
           FROM unnest(news) WITH ORDINALITY n (tenant_id, seq, type, at, chat, outgoing, incoming, data, place)),
       heads AS (
         INSERT INTO event_heads AS h (tenant_id, last) SELECT f.tenant_id, count(*) FROM fresh f GROUP BY 1 ORDER BY 1
         ON CONFLICT (tenant_id) DO UPDATE SET last = h.last + EXCLUDED.last RETURNING h.tenant_id, h.last)
  INSERT INTO events (tenant_id, seq, type, at, chat, outgoing, incoming, data)
    SELECT f.tenant_id, h.last - f.many + f.number, f.type, clock_timestamp(), f.chat, f.outgoing, f.incoming, f.data
      FROM fresh f JOIN heads h USING (tenant_id) ORDER BY f.place;
  IF aloud THEN
    PERFORM pg_notify('gapura_events', t) FROM (SELECT DISTINCT n.tenant_id AS t FROM unnest(news) n) x;
  END IF;
END $$;

-- One event that is no row's change.
CREATE FUNCTION tell_v1(who text, what text, about_chat text, about_outgoing uuid, about_incoming text, more jsonb) RETURNS void
LANGUAGE sql AS $$
  SELECT tell_v1(ARRAY[ROW(who, 0, what, NULL, about_chat, about_outgoing, about_incoming, more)::events], true)
$$;

-- Not aloud: the gateway that admits a message knows it, and a NOTIFY in each of its commits would cost more than the rest.
CREATE FUNCTION messages_queued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM tell_v1(array_agg(ROW(m.tenant_id, 0, 'message.' || m.status, NULL, m.recipient, m.id, NULL, NULL)::events ORDER BY m.seq), false)
     FROM fresh m;
  RETURN NULL;
END $$;
CREATE TRIGGER messages_queued AFTER INSERT ON messages REFERENCING NEW TABLE AS fresh
  FOR EACH STATEMENT EXECUTE FUNCTION messages_queued();

-- On its way is no news yet, and neither is that it did not leave and waits again.
CREATE FUNCTION messages_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM tell_v1(array_agg(ROW(m.tenant_id, 0, 'message.' || m.status, NULL, m.recipient, m.id, NULL,
                                CASE WHEN m.cause IS NOT NULL THEN jsonb_build_object('cause', m.cause) END)::events ORDER BY m.seq), true)
     FROM changed m JOIN before b USING (id)
    WHERE m.status <> b.status AND m.status <> 'sending' AND (b.status, m.status) <> ('sending', 'queued');
  RETURN NULL;
END $$;
CREATE TRIGGER messages_changed AFTER UPDATE ON messages REFERENCING OLD TABLE AS before NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION messages_changed();

CREATE FUNCTION incoming_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM tell_v1(array_agg(ROW(i.tenant_id, 0, 'message.received', NULL, i.chat, NULL, i.id, NULL)::events ORDER BY i.seq), true)
     FROM fresh i;
  RETURN NULL;
END $$;
CREATE TRIGGER incoming_told AFTER INSERT ON incoming_messages REFERENCING NEW TABLE AS fresh
  FOR EACH STATEMENT EXECUTE FUNCTION incoming_told();

CREATE FUNCTION sessions_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM tell_v1(array_agg(ROW(s.tenant_id, 0, 'session.' || s.state, NULL, NULL, NULL, NULL,
                                jsonb_strip_nulls(jsonb_build_object('state', s.state, 'reason', s.reason)))::events), true)
     FROM changed s JOIN before b USING (tenant_id) WHERE s.state <> b.state;
  RETURN NULL;
END $$;
CREATE TRIGGER sessions_told AFTER UPDATE ON sessions REFERENCING OLD TABLE AS before NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION sessions_told();

-- As before (0004, 0005), with the change of status as the last thing that is locked.

CREATE OR REPLACE FUNCTION drop_v1(ids uuid[], new_status text, why text)
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
  RETURN QUERY
  UPDATE messages m
     SET status = new_status, cause = why,
         history = m.history || jsonb_build_object('status', new_status, 'at', present, 'cause', why)
   WHERE m.id = ANY (dropped)
  RETURNING m.id, m.tenant_id::text, m.recipient::text, present;
END $$;

CREATE OR REPLACE FUNCTION record_v1(message uuid, new_status text, why text, whatsapp_id text, returns boolean)
RETURNS TABLE (at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
  present timestamptz := clock_timestamp();
BEGIN
  PERFORM FROM messages m WHERE m.id = message AND m.status IN ('sending', 'unknown') FOR UPDATE;
  IF FOUND THEN
    IF returns THEN PERFORM give_back(ARRAY[message]); END IF;
    RETURN QUERY
    UPDATE messages m
       SET status = new_status, cause = why, wa_id = coalesce(whatsapp_id, m.wa_id), process = NULL,
           settled_at = present,
           sent_at = CASE WHEN new_status = 'sent' THEN present ELSE m.sent_at END,
           history = m.history || jsonb_strip_nulls(jsonb_build_object('status', new_status, 'at', present, 'cause', why))
     WHERE m.id = message RETURNING present;
  ELSE  -- recorded already, and the answer was lost
    RETURN QUERY SELECT m.settled_at FROM messages m WHERE m.id = message AND m.status = new_status;
  END IF;
END $$;

CREATE OR REPLACE FUNCTION acked_v1(who text, wa_ids text[], new_status text)
RETURNS TABLE (id uuid, recipient text, wa_id text, at timestamptz, is_news boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  ranks CONSTANT text[] := ARRAY['sent', 'delivered', 'read', 'played'];
  present timestamptz;
BEGIN
  PERFORM FROM messages x WHERE x.tenant_id = who AND x.wa_id = ANY (wa_ids) ORDER BY x.id FOR UPDATE;
  present := clock_timestamp();
  RETURN QUERY
  WITH known AS MATERIALIZED (
         SELECT x.id, x.recipient::text, x.wa_id,
                coalesce(x.status = 'unknown' OR array_position(ranks, x.status) < array_position(ranks, new_status), false) AS is_news
           FROM messages x WHERE x.tenant_id = who AND x.wa_id = ANY (wa_ids)),
       written AS (
         UPDATE messages x SET status = new_status, cause = NULL, settled_at = present, process = NULL,
                history = x.history || jsonb_build_object('status', new_status, 'at', present)
           FROM known k WHERE k.is_news AND x.id = k.id)
  SELECT k.id, k.recipient, k.wa_id, present, k.is_news FROM known k ORDER BY k.id;
END $$;

-- Events that are older than this, at most so many of them; how many went. Their numbers are not given again.
CREATE FUNCTION forget_events_v1(older_than interval, most integer) RETURNS integer LANGUAGE sql AS $$
  WITH gone AS (
    DELETE FROM events e USING (SELECT x.tenant_id, x.seq FROM events x WHERE x.at < now() - older_than LIMIT most) old
     WHERE e.tenant_id = old.tenant_id AND e.seq = old.seq RETURNING 1)
  SELECT count(*)::integer FROM gone
$$;
