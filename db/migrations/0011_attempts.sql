-- What is known of a message in flight when the process that held it is gone.
--
-- Each claim for WhatsApp is an attempt with a secret of its own, 32 random bytes that travel inside the message. Before the library lets
-- a frame out it writes, in this order and on connections of its own: the secret with the id that it gave the message
-- (whatsmeow_message_secrets), and the state of each conversation that encrypts it (whatsmeow_sessions, whatsmeow_sender_keys). Of the first
-- a failure is only logged; without the second nothing leaves. So triggers on these tables note in the attempt
--   wa_id   the id under which it leaves, if it leaves: so no receipt comes before it is known
--   sealed  that since the claim some conversation of the tenant's has moved on: a ciphertext may be there
-- An attempt that is not sealed has not left, and whoever raises the tenant's fence under `guard_fence` knows that it never will.
--
-- Lock order: guard_fence, sessions, messages, attempts, counters, lines, event_heads.
CREATE TABLE attempts (
  secret     bytea PRIMARY KEY,
  message_id uuid NOT NULL,
  tenant_id  varchar(100) NOT NULL,
  process    integer NOT NULL,
  fence      bigint NOT NULL,
  began_at   timestamptz NOT NULL,         -- messages.claimed_at of the claim that it is of
  wa_id      text,
  sealed     boolean NOT NULL DEFAULT false
);
CREATE INDEX attempts_message ON attempts (message_id);
CREATE INDEX attempts_wa_id ON attempts (tenant_id, wa_id) WHERE wa_id IS NOT NULL;
CREATE INDEX attempts_unsealed ON attempts (tenant_id) WHERE NOT sealed;

ALTER TABLE messages
  ADD COLUMN tries    smallint NOT NULL DEFAULT 0,      -- how often it was put back for reasons of its own
  ADD COLUMN retry_at timestamptz,                      -- while queued: not before; its place in the line stays
  ADD COLUMN overdue  boolean NOT NULL DEFAULT false;   -- that WhatsApp has not confirmed it for a minute was told
CREATE INDEX messages_retry ON messages (tenant_id, retry_at) WHERE status = 'queued' AND retry_at IS NOT NULL;
CREATE INDEX messages_unknown ON messages (expires_at, tenant_id) WHERE status = 'unknown';

-- Shared by whoever moves a conversation on, alone for whoever wants to know what those have done that were there under an old fence.
CREATE FUNCTION fence_class() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1734440055';

CREATE FUNCTION guard_fence(who text) RETURNS void LANGUAGE sql VOLATILE AS $$
  SELECT pg_advisory_xact_lock(fence_class(), hashtext(who))
$$;

-- What the library writes. The attempt's own id comes first: a person who got the message knows its secret, and may use it again later.
CREATE FUNCTION wa_secret_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE attempts a SET wa_id = NEW.message_id WHERE a.secret = NEW.key AND a.wa_id IS NULL;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'an attempt does not know its id: %', SQLERRM;
  RETURN NULL;
END $$;

-- Must be able to fail: what could not be noted here must not leave. It comes before the trigger that asks for the fence (by its name), so
-- that the fence is read under the guard; and before the row is locked, so that nobody waits in a circle.
CREATE FUNCTION wa_sealing() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  who text := coalesce(nullif(current_setting('wa.tenant', true), ''), (SELECT s.tenant_id FROM sessions s WHERE s.jid = NEW.our_jid));
BEGIN
  IF who IS NOT NULL THEN
    PERFORM pg_advisory_xact_lock_shared(fence_class(), hashtext(who));
    UPDATE attempts a SET sealed = true WHERE a.tenant_id = who AND NOT a.sealed;
  END IF;
  RETURN NEW;
END $$;

-- Put these triggers on one of whatsmeow's tables, if it is there; true when they were not.
CREATE FUNCTION wa_attend_v1(kind text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  source text := 'whatsmeow_' || kind;
  work text := CASE kind WHEN 'message_secrets' THEN 'AFTER INSERT ON %I FOR EACH ROW EXECUTE FUNCTION wa_secret_kept()'
                         ELSE 'BEFORE INSERT ON %I FOR EACH ROW EXECUTE FUNCTION wa_sealing()' END;
BEGIN
  IF to_regclass(source) IS NULL OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = to_regclass(source)
                                             AND t.tgenabled IN ('O', 'A') AND t.tgname = 'Attempt_v1') THEN
    RETURN false;
  END IF;
  EXECUTE format('CREATE OR REPLACE TRIGGER "Attempt_v1" ' || work, source);
  EXECUTE format('ALTER TABLE %I ENABLE TRIGGER "Attempt_v1"', source);
  RETURN true;
END $$;

-- Whether all of them are there: otherwise an attempt that is not sealed proves nothing.
CREATE FUNCTION wa_attended_v1() RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT count(*) = 3 FROM pg_trigger t
   WHERE t.tgname = 'Attempt_v1' AND t.tgenabled IN ('O', 'A')
     AND t.tgrelid IN (to_regclass('whatsmeow_sessions'), to_regclass('whatsmeow_sender_keys'), to_regclass('whatsmeow_message_secrets'))
$$;

-- The tenant has heard from this recipient, or the message answers one: WhatsApp takes it even while it refuses new conversations.
CREATE FUNCTION is_known(m messages) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT m.answers IS NOT NULL OR EXISTS (SELECT FROM incoming_messages i WHERE i.tenant_id = m.tenant_id AND i.chat = m.recipient)
$$;

-- As first_due, of those whose time after a put-back has come, and with known_only of those that are known.
CREATE FUNCTION first_due_v2(who text, urgency integer, is_paced boolean, known_only boolean, present timestamptz) RETURNS messages
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off SET enable_bitmapscan = off AS $$
DECLARE
  found messages;
BEGIN
  IF is_paced THEN
    FOR found IN SELECT x.* FROM messages x
                  WHERE x.tenant_id = who AND x.status = 'queued' AND x.gap_ms > 0 AND x.priority = urgency
                    AND x.send_at <= present ORDER BY x.send_at, x.seq LIMIT 1000 LOOP
      IF may_go(found, known_only, present) THEN RETURN found; END IF;
    END LOOP;
  ELSE
    FOR found IN SELECT x.* FROM messages x
                  WHERE x.tenant_id = who AND x.status = 'queued' AND x.gap_ms = 0 AND x.priority = urgency
                    AND x.send_at <= present ORDER BY x.send_at, x.seq LIMIT 1000 LOOP
      IF may_go(found, known_only, present) THEN RETURN found; END IF;
    END LOOP;
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION may_go(m messages, known_only boolean, present timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN m.expires_at > present AND (m.retry_at IS NULL OR m.retry_at <= present) AND (NOT known_only OR is_known(m))
     AND is_next_for_recipient(m, present);
END $$;

-- As claim_v2. `with_secret`: what is claimed is an attempt on WhatsApp, which only the holder of the session may make; null: it goes
-- elsewhere. A message that this process holds already comes with the secret that it was first claimed with. `known_only`: see is_known.
CREATE FUNCTION claim_v3(who text, by_process integer, with_secret bytea, known_only boolean)
RETURNS TABLE (id uuid, recipient text, kind text, content text, reply_to text, mentions text[], client_ref text, answers text,
               priority smallint, send_at timestamptz, expires_at timestamptz, gap_ms integer, wake_at timestamptz, secret bytea)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
  line lines;
  m messages;
  candidate messages;
  held bigint;
  present timestamptz;
  slot timestamptz;
BEGIN
  SELECT l.* INTO line FROM lines l WHERE l.tenant_id = who FOR UPDATE;
  IF NOT FOUND OR NOT EXISTS (SELECT FROM api_keys a WHERE a.tenant_id = who) THEN RETURN; END IF;
  SELECT s.fence INTO held FROM sessions s WHERE s.tenant_id = who AND s.process = by_process;
  IF with_secret IS NOT NULL AND held IS NULL THEN RETURN; END IF;
  SELECT x.* INTO m FROM messages x WHERE x.tenant_id = who AND x.status = 'sending' AND x.process = by_process LIMIT 1;
  IF m.id IS NOT NULL THEN
    secret := (SELECT a.secret FROM attempts a WHERE a.message_id = m.id AND a.began_at = m.claimed_at);
  ELSE
    present := clock_timestamp();
    line := join_line(line, present);
    FOR p IN 1..3 LOOP
      m := first_due_v2(who, p, false, known_only, present);
      EXIT WHEN m.id IS NOT NULL;
      IF slot IS NULL THEN
        candidate := first_due_v2(who, p, true, known_only, present);
        slot := greatest(line.paced_at + make_interval(secs => candidate.gap_ms / 1000.0), candidate.send_at);
        IF slot <= present THEN m := candidate; EXIT; END IF;
      END IF;
    END LOOP;
    IF m.id IS NOT NULL THEN
      PERFORM FROM messages x WHERE x.id = m.id AND x.status = 'queued' FOR UPDATE SKIP LOCKED;
      IF FOUND THEN
        UPDATE messages x SET status = 'sending', process = by_process, claimed_at = present, fence = held, retry_at = NULL,
                              history = x.history || jsonb_build_object('status', 'sending', 'at', present)
         WHERE x.id = m.id;
        IF with_secret IS NOT NULL THEN
          INSERT INTO attempts (secret, message_id, tenant_id, process, fence, began_at)
            VALUES (with_secret, m.id, who, by_process, held, present);
          secret := with_secret;
        END IF;
      ELSE  -- it is being cancelled or expires: look again
        m := NULL;
        slot := present;
      END IF;
    END IF;
    IF m.id IS NULL THEN
      wake_at := least(slot, (SELECT x.send_at FROM messages x
                               WHERE x.tenant_id = who AND x.status = 'queued' AND NOT x.in_line ORDER BY x.send_at LIMIT 1),
                       (SELECT x.retry_at FROM messages x
                         WHERE x.tenant_id = who AND x.status = 'queued' AND x.retry_at > present ORDER BY x.retry_at LIMIT 1));
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
                        m.send_at, m.expires_at, m.gap_ms, NULL::timestamptz, secret;
  ELSIF wake_at IS NOT NULL THEN
    IF wake_at = slot THEN recipient := candidate.recipient; END IF;
    RETURN NEXT;
  END IF;
END $$;

-- These are counted in their lines (n = 1: they are about to be queued there) or no more (n = -1). The caller has locked the messages.
CREATE FUNCTION count_in_line(ids uuid[], n integer) RETURNS void LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  c record;
BEGIN
  FOR c IN
    SELECT m.tenant_id AS tenant, m.priority AS p, m.priority + CASE WHEN m.gap_ms = 0 THEN 3 ELSE 0 END AS slot, count(*)::integer AS many,
           sum(m.gap_ms) AS gap
      FROM messages m WHERE m.id = ANY (ids) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
  LOOP
    UPDATE lines l SET waiting[c.slot] = l.waiting[c.slot] + n * c.many, gap_ms[c.p] = l.gap_ms[c.p] + n * c.gap
     WHERE l.tenant_id = c.tenant;
  END LOOP;
END $$;

-- What became of a message in flight, says who attempted it. Whoever lost it meanwhile changes nothing that is another's: only that it was
-- sent is true whoever says so. Late news settle an `unknown` too; a receipt that came before them stands. `returns`: it never left, so
-- what it counted comes back.
CREATE FUNCTION record_v2(message uuid, by_process integer, with_secret bytea, new_status text, why text, whatsapp_id text, returns boolean)
RETURNS TABLE (at timestamptz) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  present timestamptz := clock_timestamp();
  m messages;
  attempt attempts;
  is_latest boolean;
BEGIN
  SELECT x.* INTO m FROM messages x WHERE x.id = message FOR UPDATE;
  UPDATE attempts a SET wa_id = coalesce(a.wa_id, whatsapp_id) WHERE a.secret = with_secret RETURNING a.* INTO attempt;
  is_latest := CASE WHEN with_secret IS NULL THEN m.status = 'unknown' OR m.process = by_process
                    ELSE attempt.began_at = m.claimed_at END;
  IF is_latest AND new_status <> 'unknown' AND (whatsapp_id IS NULL OR attempt.wa_id = whatsapp_id) THEN
    DELETE FROM attempts a WHERE a.secret = with_secret;
  END IF;
  IF m.status = new_status AND m.process IS NULL THEN  -- recorded already, and the answer was lost
    RETURN QUERY SELECT m.settled_at;
  ELSIF is_latest AND m.status IN ('sending', 'unknown') THEN
    IF returns THEN PERFORM give_back(ARRAY[message]); END IF;
    RETURN QUERY
    UPDATE messages x
       SET status = new_status, cause = why, wa_id = coalesce(whatsapp_id, attempt.wa_id, x.wa_id), process = NULL, settled_at = present,
           sent_at = CASE WHEN new_status = 'sent' THEN present ELSE x.sent_at END,
           history = x.history || jsonb_strip_nulls(jsonb_build_object('status', new_status, 'at', present, 'cause', why))
     WHERE x.id = message RETURNING present;
  ELSIF new_status = 'sent' AND attempt.secret IS NOT NULL THEN
    RETURN QUERY SELECT r.at FROM acked_v2(m.tenant_id, ARRAY[attempt.wa_id], 'sent') r WHERE r.is_news;
  END IF;
END $$;

-- A message that this process holds, or that waits for a receipt of this attempt, did not leave and stands in its line again, where it stood; not to be tried before `pause` is over.
-- `is_own`: the reason lies in the message itself; the eighth time it fails for good.
CREATE FUNCTION requeue_v2(message uuid, by_process integer, with_secret bytea, why text, is_own boolean, pause interval)
RETURNS TABLE (status text, tenant_id text, recipient text, at timestamptz) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  present timestamptz := clock_timestamp();
  m messages;
  news jsonb;
BEGIN
  SELECT x.* INTO m FROM messages x WHERE x.id = message AND x.status = 'sending' FOR UPDATE;
  IF NOT FOUND OR NOT coalesce(m.process = by_process, EXISTS (SELECT FROM attempts a WHERE a.secret = with_secret AND a.began_at = m.claimed_at)) THEN
    RETURN;
  END IF;
  DELETE FROM attempts a WHERE a.message_id = message AND a.wa_id IS NULL;
  m.tries := m.tries + is_own::integer;
  news := jsonb_build_array(jsonb_build_object('status', 'queued', 'at', present, 'cause', why));
  IF is_own AND m.tries >= 8 THEN
    PERFORM give_back(ARRAY[message]);
    RETURN QUERY
    UPDATE messages x SET status = 'failed', cause = 'gave_up', process = NULL, tries = m.tries, settled_at = present,
           history = x.history || news || jsonb_build_object('status', 'failed', 'at', present, 'cause', 'gave_up')
     WHERE x.id = message RETURNING x.status, x.tenant_id::text, x.recipient::text, present;
  ELSE
    IF is_own THEN pause := greatest(pause, make_interval(secs => least(2 ^ m.tries, 60))); END IF;
    PERFORM count_in_line(ARRAY[message], 1);
    RETURN QUERY
    UPDATE messages x SET status = 'queued', process = NULL, fence = NULL, claimed_at = NULL, in_line = true, tries = m.tries,
           retry_at = CASE WHEN pause > interval '0' THEN present + pause END, history = x.history || news
     WHERE x.id = message RETURNING x.status, x.tenant_id::text, x.recipient::text, present;
  END IF;
END $$;

-- Receipts: the tenant's messages that left under these ids of WhatsApp, in whichever attempt, are at least this far. A receipt never takes
-- anything back, and it ends every doubt: a message that is in flight, unknown, or in line to be sent once more has arrived, and so it was
-- sent, which is told first.
CREATE FUNCTION acked_v2(who text, wa_ids text[], new_status text)
RETURNS TABLE (id uuid, recipient text, wa_id text, status text, at timestamptz, is_news boolean) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  ranks CONSTANT text[] := ARRAY['sent', 'delivered', 'read', 'played'];
  named uuid[];
  present timestamptz;
BEGIN
  SELECT array_agg(k.id) INTO named FROM (
    SELECT x.id FROM messages x
     WHERE x.id IN (SELECT y.id FROM messages y WHERE y.tenant_id = who AND y.wa_id = ANY (wa_ids)
                    UNION SELECT a.message_id FROM attempts a WHERE a.tenant_id = who AND a.wa_id = ANY (wa_ids))
     ORDER BY x.id FOR UPDATE) k;
  IF named IS NULL THEN RETURN; END IF;
  PERFORM count_in_line((SELECT array_agg(x.id) FROM messages x WHERE x.id = ANY (named) AND x.status = 'queued' AND x.in_line), -1);
  present := clock_timestamp();
  RETURN QUERY
  UPDATE messages x
     SET status = 'sent', cause = NULL, settled_at = present, process = NULL, sent_at = present, retry_at = NULL,
         wa_id = coalesce((SELECT a.wa_id FROM attempts a WHERE a.message_id = x.id AND a.wa_id = ANY (wa_ids) LIMIT 1), x.wa_id),
         history = x.history || jsonb_build_object('status', 'sent', 'at', present)
   WHERE x.id = ANY (named) AND x.status IN ('unknown', 'sending', 'queued')
  RETURNING x.id, x.recipient::text, x.wa_id, x.status, present, true;
  RETURN QUERY
  WITH known AS MATERIALIZED (
         SELECT x.id, x.recipient::text, x.wa_id,
                coalesce(array_position(ranks, x.status) < array_position(ranks, new_status), false) AS is_news
           FROM messages x WHERE x.id = ANY (named)),
       written AS (
         UPDATE messages x SET status = new_status, cause = NULL, settled_at = present,
                history = x.history || jsonb_build_object('status', new_status, 'at', present)
           FROM known k WHERE k.is_news AND x.id = k.id)
  SELECT k.id, k.recipient, k.wa_id, new_status, present, k.is_news FROM known k ORDER BY k.id;
END $$;

-- Messages in flight that nobody holds any more: their process shows no sign of life (and they were claimed over `grace` ago), or the
-- tenant's session went to another; and those of them that have waited long enough for a receipt. `whose`: of this tenant; null: all.
-- First the fence, which ends what a process that only slept could still send. Then what its latest attempt tells:
--   it is not sealed, and PostgreSQL ran through since then -> it never left: queued again, where it stood (cancelled, if the tenant is gone)
--   it has an id -> it may have left: `sending`, held by nobody, until a receipt names it; `unknown` (no_ack) when none comes though
--     the session has been connected for a minute, or within ten minutes
--   otherwise, or without an attempt -> `unknown`
CREATE FUNCTION settle_v1(grace interval, whose text)
RETURNS TABLE (id uuid, tenant_id text, recipient text, status text, cause text, at timestamptz) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  whom text[];
  present timestamptz;
  ids uuid[];
  verdicts text[];
BEGIN
  SELECT array_agg(DISTINCT o.tenant_id::text) INTO whom FROM orphans(grace, whose) o;
  IF whom IS NULL THEN RETURN; END IF;
  PERFORM guard_fence(w) FROM (SELECT w FROM unnest(whom) w ORDER BY hashtext(w)) sorted;
  PERFORM FROM sessions s WHERE s.tenant_id = ANY (whom) ORDER BY s.tenant_id FOR UPDATE;
  UPDATE sessions s SET fence = s.fence + 1
   WHERE s.tenant_id IN (SELECT o.tenant_id FROM orphans(grace, whose) o WHERE o.process = s.process AND o.fence = s.fence);
  PERFORM FROM messages m WHERE m.id IN (SELECT o.id FROM orphans(grace, whose) o WHERE o.tenant_id = ANY (whom)) ORDER BY m.id FOR UPDATE;
  present := clock_timestamp();
  SELECT array_agg(o.id), array_agg(verdict_on(o)) INTO ids, verdicts
    FROM messages o WHERE o.id IN (SELECT x.id FROM orphans(grace, whose) x WHERE x.tenant_id = ANY (whom));
  IF ids IS NULL THEN RETURN; END IF;
  PERFORM give_back((SELECT array_agg(i) FROM unnest(ids, verdicts) v (i, verdict) WHERE verdict = 'cancelled'));
  PERFORM count_in_line((SELECT array_agg(i) FROM unnest(ids, verdicts) v (i, verdict) WHERE verdict = 'queued'), 1);
  RETURN QUERY
  WITH v AS (SELECT i AS id, CASE verdict WHEN 'no_ack' THEN 'unknown' ELSE verdict END AS status,
                    CASE verdict WHEN 'no_ack' THEN 'no_ack' WHEN 'cancelled' THEN 'tenant_removed' WHEN 'sending' THEN NULL
                                 ELSE 'gateway_died' END AS cause
               FROM unnest(ids, verdicts) x (i, verdict))
  UPDATE messages m
     SET status = v.status, process = NULL, settled_at = present,
         cause = CASE WHEN v.status <> 'queued' THEN v.cause END,
         wa_id = coalesce((SELECT a.wa_id FROM attempts a WHERE a.message_id = m.id AND a.began_at = m.claimed_at), m.wa_id),
         claimed_at = CASE WHEN v.status <> 'queued' THEN m.claimed_at END,
         fence = CASE WHEN v.status <> 'queued' THEN m.fence END,
         in_line = m.in_line OR v.status = 'queued',
         history = CASE WHEN v.status = 'sending' THEN m.history
                        ELSE m.history || jsonb_build_object('status', v.status, 'at', present, 'cause', v.cause) END
    FROM v WHERE m.id = v.id
  RETURNING m.id, m.tenant_id::text, m.recipient::text, v.status, v.cause, present;
END $$;

-- What settle_v1 is to look at: what nobody holds any more, and what has waited for its receipt in vain.
CREATE FUNCTION orphans(grace interval, whose text) RETURNS SETOF messages LANGUAGE sql STABLE AS $$
  SELECT m.* FROM messages m LEFT JOIN sessions s USING (tenant_id)
   WHERE m.status = 'sending' AND (whose IS NULL OR m.tenant_id = whose)
     AND CASE WHEN m.process IS NOT NULL
              THEN s.fence > m.fence OR (m.claimed_at < clock_timestamp() - grace AND m.process NOT IN (SELECT live_processes()))
              ELSE m.settled_at < clock_timestamp() - interval '10 minutes'
                   OR greatest(m.settled_at, CASE WHEN s.state IN ('connected', 'restricted') THEN s.since ELSE 'infinity' END)
                      < clock_timestamp() - interval '1 minute' END
$$;

-- queued, cancelled, sending (waits for a receipt), no_ack or unknown.
CREATE FUNCTION verdict_on(m messages) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN m.process IS NULL THEN 'no_ack'
              WHEN a.secret IS NULL THEN 'unknown'
              WHEN NOT a.sealed AND wa_attended_v1() AND pg_postmaster_start_time() < a.began_at
                THEN CASE WHEN EXISTS (SELECT FROM api_keys k WHERE k.tenant_id = m.tenant_id) THEN 'queued' ELSE 'cancelled' END
              WHEN a.wa_id IS NOT NULL THEN 'sending'
              ELSE 'unknown' END
    FROM (SELECT 1) one LEFT JOIN attempts a ON a.message_id = m.id AND a.began_at = m.claimed_at
$$;

-- Whether an `unknown` message of these tenants left or not: it goes once more, where it stood, and its history says so. At most eight
-- times, with pauses that grow, and never after its time.
CREATE FUNCTION resend_v1(whom text[]) RETURNS TABLE (id uuid, tenant_id text, recipient text, at timestamptz)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  present timestamptz := clock_timestamp();
  ids uuid[];
BEGIN
  SELECT array_agg(q.id) INTO ids FROM (
    SELECT m.id FROM messages m
     WHERE m.tenant_id = ANY (whom) AND m.status = 'unknown' AND m.expires_at > present AND m.tries < 8
       AND EXISTS (SELECT FROM api_keys k WHERE k.tenant_id = m.tenant_id) ORDER BY m.id FOR UPDATE SKIP LOCKED) q;
  IF ids IS NULL THEN RETURN; END IF;
  PERFORM count_in_line(ids, 1);
  RETURN QUERY
  UPDATE messages m
     SET status = 'queued', cause = 'resend', process = NULL, fence = NULL, claimed_at = NULL, in_line = true, tries = m.tries + 1,
         retry_at = present + make_interval(secs => least(2 ^ m.tries, 60)),
         history = m.history || jsonb_build_object('status', 'queued', 'at', present, 'cause', 'resend')
   WHERE m.id = ANY (ids)
  RETURNING m.id, m.tenant_id::text, m.recipient::text, present;
END $$;

-- WhatsApp has not confirmed these for a minute; told once for each.
CREATE FUNCTION overdue_v1() RETURNS TABLE (id uuid, tenant_id text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  late messages[];
BEGIN
  WITH marked AS (
    UPDATE messages m SET overdue = true
     WHERE m.id IN (SELECT x.id FROM messages x WHERE x.status = 'sending' AND NOT x.overdue AND x.claimed_at < now() - interval '1 minute'
                     ORDER BY x.id FOR UPDATE SKIP LOCKED) RETURNING m AS it)
  SELECT array_agg(it) INTO late FROM marked;
  IF late IS NULL THEN RETURN; END IF;
  PERFORM tell_v1((SELECT array_agg(ROW(m.tenant_id, 0, 'message.overdue', NULL, m.recipient, m.id, NULL, NULL)::events ORDER BY m.seq)
                     FROM unnest(late) m), true);
  RETURN QUERY SELECT m.id, m.tenant_id::text FROM unnest(late) m;
END $$;

-- Attempts that can be named by no receipt any more.
CREATE FUNCTION forget_attempts_v1() RETURNS void LANGUAGE sql AS $$
  DELETE FROM attempts WHERE began_at < now() - interval '30 days'
$$;

-- What concerns the whole installation, from when on. Whoever puts a row here says so, once for everybody.
CREATE TABLE alarms (
  name   text PRIMARY KEY,
  since  timestamptz NOT NULL DEFAULT clock_timestamp(),
  detail text NOT NULL
);

-- When there was a last sign of the tenant's own phone: WhatsApp unlinks devices whose phone stays away.
ALTER TABLE sessions ADD COLUMN phone_last_seen timestamptz, ADD COLUMN phone_missed boolean NOT NULL DEFAULT false;
UPDATE sessions SET phone_last_seen = now() WHERE jid IS NOT NULL;

CREATE OR REPLACE TRIGGER sessions_changed AFTER UPDATE ON sessions FOR EACH ROW
  WHEN ((OLD.state, OLD.reason, OLD.jid, OLD.process, OLD.pairing, OLD.phone_last_seen) IS DISTINCT FROM
        (NEW.state, NEW.reason, NEW.jid, NEW.process, NEW.pairing, NEW.phone_last_seen)) EXECUTE FUNCTION notify_session();

-- Linked phones of which nothing was seen for so long; told once, until they are seen again.
CREATE FUNCTION phones_missed_v1(absence interval) RETURNS TABLE (tenant_id text, phone_last_seen timestamptz) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  missed sessions[];
BEGIN
  WITH marked AS (
    UPDATE sessions s SET phone_missed = true
     WHERE s.tenant_id IN (SELECT x.tenant_id FROM sessions x
                            WHERE x.jid IS NOT NULL AND NOT x.phone_missed AND x.phone_last_seen < now() - absence
                            ORDER BY x.tenant_id FOR UPDATE SKIP LOCKED) RETURNING s AS it)
  SELECT array_agg(it) INTO missed FROM marked;
  IF missed IS NULL THEN RETURN; END IF;
  PERFORM tell_v1((SELECT array_agg(ROW(s.tenant_id, 0, 'session.phone_not_seen', NULL, NULL, NULL, NULL,
                                        jsonb_build_object('phone_last_seen', s.phone_last_seen))::events) FROM unnest(missed) s), true);
  RETURN QUERY SELECT s.tenant_id::text, s.phone_last_seen FROM unnest(missed) s;
END $$;
