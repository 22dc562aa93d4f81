-- WhatsApp sessions: who holds them, in which state they are, and what is asked of them.

-- One row per tenant that was ever paired, or is being paired. `jid` is the tenant's own linked device (628…:7@s.whatsapp.net), bound
-- when it was paired; null: there is none. `process` holds the session until `leased_until`; `fence` grows with every new holder.
CREATE TABLE sessions (
  tenant_id    varchar(100) PRIMARY KEY,
  state        text NOT NULL DEFAULT 'unpaired'
               CHECK (state IN ('unpaired', 'pairing', 'connecting', 'connected', 'disconnected', 'logged_out', 'replaced',
                                'restricted', 'client_outdated', 'banned')),
  reason       text,
  since        timestamptz NOT NULL DEFAULT now(),
  jid          text,
  lid          text,
  push_name    text,
  sandbox      boolean NOT NULL DEFAULT false,  -- paired with a WhatsApp on loopback, never to be opened at the real one
  process      integer,
  leased_until timestamptz,
  fence        bigint NOT NULL DEFAULT 0,
  asked_at     timestamptz,                     -- when pairing was last asked for
  pairing      jsonb                            -- {qr, qr_until, code, code_until} while pairing; secret
);

-- One device, one tenant: whoever opened another's would throw it out, and send its messages from a number that is not its own.
CREATE UNIQUE INDEX sessions_jid ON sessions (jid) WHERE jid IS NOT NULL;

-- Calls to the process that can answer them: kind is pair, logout or reconnect.
CREATE TABLE commands (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id   varchar(100) NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('pair', 'logout', 'reconnect')),
  arguments   jsonb NOT NULL DEFAULT '{}',
  deadline    timestamptz NOT NULL,
  process     integer,
  answer      jsonb                             -- {} or {refused, detail}
);
CREATE INDEX commands_new ON commands (id) WHERE process IS NULL;

-- A page's address that is good for one tenant's pairing and for ten minutes; the token itself is nowhere.
CREATE TABLE pair_links (
  digest     text PRIMARY KEY,
  tenant_id  varchar(100) NOT NULL,
  expires_at timestamptz NOT NULL
);

ALTER TABLE messages ADD COLUMN fence bigint;  -- of the session that sent it, or sends it
CREATE INDEX messages_wa_id ON messages (tenant_id, wa_id) WHERE wa_id IS NOT NULL;

-- Every change of a session is heard by all gateways. The channel carries who it is, never a secret.
CREATE FUNCTION notify_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('gapura_sessions', coalesce(NEW.tenant_id, OLD.tenant_id));
  RETURN NULL;
END $$;
CREATE TRIGGER sessions_shown AFTER INSERT OR DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION notify_session();
CREATE TRIGGER sessions_changed AFTER UPDATE ON sessions FOR EACH ROW
  WHEN ((OLD.state, OLD.reason, OLD.jid, OLD.process, OLD.pairing) IS DISTINCT FROM
        (NEW.state, NEW.reason, NEW.jid, NEW.process, NEW.pairing)) EXECUTE FUNCTION notify_session();

-- Take or renew the leases of these tenants; returns those that are the caller's now. A lease is free when nobody has it, its time is
-- over, or its process shows no sign of life any more.
CREATE FUNCTION lease_v1(by_process integer, whom text[], length interval) RETURNS TABLE (tenant_id text, fence bigint, jid text, sandbox boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO sessions (tenant_id) SELECT w FROM unnest(whom) w ORDER BY 1 ON CONFLICT DO NOTHING;
  PERFORM FROM sessions s WHERE s.tenant_id = ANY (whom) ORDER BY s.tenant_id FOR UPDATE;
  RETURN QUERY
  UPDATE sessions s
     SET fence = s.fence + (s.process IS DISTINCT FROM by_process)::integer, process = by_process,
         leased_until = clock_timestamp() + length
   WHERE s.tenant_id = ANY (whom)
     AND (s.process IS NULL OR s.process = by_process OR s.leased_until < clock_timestamp()
          OR s.process NOT IN (SELECT live_processes()))
  RETURNING s.tenant_id::text, s.fence, s.jid, s.sandbox;
END $$;

-- The process holds these no longer (whom null: none any more). A session that was shown as working is not (why null: its state stays).
CREATE FUNCTION release_v1(by_process integer, whom text[], why text) RETURNS SETOF text LANGUAGE sql AS $$
  WITH held AS MATERIALIZED (
    SELECT s.tenant_id, why IS NOT NULL AND s.state IN ('connecting', 'connected', 'restricted', 'pairing') AS changes FROM sessions s
     WHERE s.process = by_process AND (whom IS NULL OR s.tenant_id = ANY (whom)) ORDER BY s.tenant_id FOR UPDATE)
  UPDATE sessions s
     SET process = NULL, leased_until = NULL, pairing = NULL,
         state = CASE WHEN NOT h.changes THEN s.state WHEN s.jid IS NULL THEN 'unpaired' ELSE 'disconnected' END,
         reason = CASE WHEN h.changes THEN why ELSE s.reason END,
         since = CASE WHEN h.changes THEN clock_timestamp() ELSE s.since END
    FROM held h WHERE s.tenant_id = h.tenant_id
  RETURNING s.tenant_id::text
$$;

-- The session is in a new state, says the process that holds it; false when it does not hold it. `since` moves with the state.
CREATE FUNCTION session_changed_v1(by_process integer, who text, new_state text, why text, is_pairing jsonb) RETURNS boolean
LANGUAGE sql AS $$
  WITH changed AS (
    UPDATE sessions s
       SET since = CASE WHEN s.state = new_state THEN s.since ELSE clock_timestamp() END, state = new_state, reason = why,
           pairing = is_pairing
     WHERE s.tenant_id = who AND s.process = by_process RETURNING 1)
  SELECT EXISTS (SELECT FROM changed)
$$;

-- Receipts: the tenant's messages with these ids of WhatsApp are at least this far. A receipt never takes anything back.
CREATE FUNCTION acked_v1(who text, wa_ids text[], new_status text)
RETURNS TABLE (id uuid, recipient text, wa_id text, at timestamptz, is_news boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  ranks CONSTANT text[] := ARRAY['sent', 'delivered', 'read', 'played'];
  m record;
BEGIN
  FOR m IN SELECT x.id, x.recipient, x.wa_id, x.status, x.settled_at FROM messages x
            WHERE x.tenant_id = who AND x.wa_id = ANY (wa_ids) ORDER BY x.id FOR UPDATE LOOP
    is_news := m.status = 'unknown' OR array_position(ranks, m.status) < array_position(ranks, new_status);
    at := clock_timestamp();
    IF is_news THEN
      UPDATE messages x SET status = new_status, cause = NULL, settled_at = at, process = NULL,
             history = x.history || jsonb_build_object('status', new_status, 'at', at) WHERE x.id = m.id;
    END IF;
    id := m.id; recipient := m.recipient; wa_id := m.wa_id;
    RETURN NEXT;
  END LOOP;
END $$;

-- A claimed message that did not leave stands in its line again, where it stood.
CREATE FUNCTION requeue_v1(message uuid, by_process integer, why text) RETURNS TABLE (at timestamptz) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  m messages;
  slot integer;
BEGIN
  at := clock_timestamp();
  UPDATE messages x SET status = 'queued', process = NULL, fence = NULL, claimed_at = NULL, in_line = true,
         history = x.history || jsonb_build_object('status', 'queued', 'at', at, 'cause', why)
   WHERE x.id = message AND x.status = 'sending' AND x.process = by_process RETURNING x.* INTO m;
  IF NOT FOUND THEN RETURN; END IF;
  slot := m.priority + CASE WHEN m.gap_ms = 0 THEN 3 ELSE 0 END;
  UPDATE lines l SET waiting[slot] = l.waiting[slot] + 1, gap_ms[m.priority] = l.gap_ms[m.priority] + m.gap_ms
   WHERE l.tenant_id = m.tenant_id;
  RETURN NEXT;
END $$;

-- As claim_v1, with the session's fence, and with the recipient who is next when all that is missing is the gap (`wake_at`, `recipient`).
-- The tenant's next message, now `sending`; or no id, and when to look again (`wake_at`, null: when something changes).
-- Urgent before normal before bulk. Within one priority unpaced messages go at once and leave the line's clock alone; of the
-- paced ones the most urgent goes when its gap has passed since the last slot. A message that this process holds already is
-- given again: the answer to an earlier claim was lost.
CREATE FUNCTION claim_v2(who text, by_process integer)
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
                              fence = (SELECT s.fence FROM sessions s WHERE s.tenant_id = who AND s.process = by_process),
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
    IF wake_at = slot THEN recipient := candidate.recipient; END IF;
    RETURN NEXT;
  END IF;
END $$;

-- whatsmeow makes its tables when it first opens a store; without them there is no device.
CREATE FUNCTION device_exists_v1(device text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF to_regclass('whatsmeow_device') IS NULL THEN RETURN false; END IF;
  RETURN EXISTS (SELECT FROM whatsmeow_device d WHERE d.jid = device);
END $$;
