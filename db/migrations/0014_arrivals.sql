-- What a process took with it when it was killed is named. WhatsApp does not bring a message again once the library has told it that
-- it came, and the library tells it before anybody else knows of the message. But before that it writes the message's secret down.

-- Messages that the library has opened, until there is a row of them. `chat` and `sender` as WhatsApp spells addresses; `fence` of the
-- session that took it (null: nobody has it any more); `missed_at` since when there is nobody who would still write its row.
CREATE TABLE arrivals (
  tenant_id varchar(100) NOT NULL,
  id        text NOT NULL,
  chat      text NOT NULL,
  sender    text NOT NULL,
  fence     bigint,
  at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  xact      xid8 NOT NULL DEFAULT pg_current_xact_id(),
  missed_at timestamptz,
  PRIMARY KEY (tenant_id, id)
);

-- `628…:7@s.whatsapp.net` -> 628…
CREATE FUNCTION wa_user(jid text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT split_part(split_part(jid, '@', 1), ':', 1)
$$;

CREATE FUNCTION wa_is_from_people(chat_jid text, sender_jid text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT sender_jid ~ '@(s\.whatsapp\.net|lid)$' AND chat_jid ~ '@(s\.whatsapp\.net|lid|g\.us)$'
$$;

-- From a person, in a chat with a person or a group, and not from ourselves. An error costs a name that we would have for a loss, and
-- never whatsmeow its own write.
CREATE FUNCTION wa_arrived() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  who text;
BEGIN
  IF NOT wa_is_from_people(NEW.chat_jid, NEW.sender_jid) THEN RETURN NULL; END IF;
  SELECT d.tenant_id INTO who FROM wa_devices d JOIN whatsmeow_device w ON w.jid = d.jid
   WHERE d.jid = NEW.our_jid AND NOT d.forgotten
     AND wa_user(NEW.sender_jid) NOT IN (wa_user(w.jid), coalesce(wa_user(w.lid), ''));
  IF who IS NULL OR EXISTS (SELECT FROM incoming_messages i WHERE i.tenant_id = who AND i.id = NEW.message_id) THEN RETURN NULL; END IF;
  INSERT INTO arrivals (tenant_id, id, chat, sender, fence)
    VALUES (who, NEW.message_id, NEW.chat_jid, NEW.sender_jid,
            coalesce(nullif(current_setting('wa.fence', true), '')::bigint, (SELECT s.fence FROM sessions s WHERE s.tenant_id = who), 0))
    ON CONFLICT DO NOTHING;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'an incoming message would not be missed: %', SQLERRM;
  RETURN NULL;
END $$;

-- A message that came once more, and that nobody can open a second time: if there is no row of it, a process was killed between opening
-- it and writing anything down.
CREATE FUNCTION wa_missed_v1(who text, message text, chat_jid text, sender_jid text) RETURNS void LANGUAGE sql AS $$
  INSERT INTO arrivals (tenant_id, id, chat, sender)
    SELECT who, message, chat_jid, sender_jid
     WHERE wa_is_from_people(chat_jid, sender_jid)
       AND NOT EXISTS (SELECT FROM sessions s WHERE s.tenant_id = who AND wa_user(sender_jid) IN (wa_user(s.jid), wa_user(s.lid)))
       AND NOT EXISTS (SELECT FROM incoming_messages i WHERE i.tenant_id = who AND i.id = message)
    ON CONFLICT DO NOTHING
$$;

-- Put the trigger on whatsmeow's table, if that is there; true when it was not (or was another, or disabled).
CREATE FUNCTION wa_install_arrivals_v1() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF to_regclass('whatsmeow_message_secrets') IS NULL
     OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = to_regclass('whatsmeow_message_secrets') AND t.tgenabled IN ('O', 'A')
                 AND t.tgname = 'Arrivals_v1') THEN
    RETURN false;
  END IF;
  CREATE OR REPLACE TRIGGER "Arrivals_v1" AFTER INSERT ON whatsmeow_message_secrets FOR EACH ROW EXECUTE FUNCTION wa_arrived();
  ALTER TABLE whatsmeow_message_secrets ENABLE TRIGGER "Arrivals_v1";
  RETURN true;
END $$;

-- A person by number where that is known, else by LID; a group as it is.
CREATE FUNCTION wa_recipient_v1(jid text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  number text;
BEGIN
  IF jid LIKE '%@s.whatsapp.net' THEN RETURN wa_user(jid); END IF;
  IF jid NOT LIKE '%@lid' THEN RETURN jid; END IF;
  IF to_regclass('whatsmeow_lid_map') IS NOT NULL THEN
    SELECT m.pn INTO number FROM whatsmeow_lid_map m WHERE m.lid = wa_user(jid);
  END IF;
  RETURN coalesce(number, wa_user(jid) || '@lid');
END $$;

-- Name what is lost, once: arrivals that for `patience` nobody was there to write down, because the process that had them is gone or
-- has the session no longer. Who still holds it has `longest`: PostgreSQL may have been away for as long.
-- Several in one transaction are a history that a phone hands over when it is linked, and no messages that came.
CREATE FUNCTION name_lost_v1(patience interval, longest interval) RETURNS TABLE (tenant_id text, id text, chat text, sender text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  present timestamptz := clock_timestamp();
  lost events[];
BEGIN
  IF NOT EXISTS (SELECT FROM arrivals) THEN RETURN; END IF;
  DELETE FROM arrivals WHERE ctid = ANY (ARRAY(
    SELECT a.ctid FROM arrivals a WHERE a.fence IS NOT NULL AND a.xact IN (SELECT h.xact FROM arrivals h GROUP BY h.xact HAVING count(*) > 1)
    FOR UPDATE SKIP LOCKED));
  UPDATE arrivals SET missed_at = present WHERE missed_at IS NULL AND ctid = ANY (ARRAY(
    SELECT a.ctid FROM arrivals a LEFT JOIN sessions s USING (tenant_id)
     WHERE a.at < present - longest OR s.fence IS DISTINCT FROM a.fence OR s.process IS NULL OR s.process NOT IN (SELECT live_processes())
    FOR UPDATE OF a SKIP LOCKED));
  WITH gone AS (
    DELETE FROM arrivals WHERE ctid = ANY (ARRAY(
      SELECT a.ctid FROM arrivals a WHERE a.missed_at < present - patience FOR UPDATE SKIP LOCKED))
    RETURNING *),
  known AS (SELECT g.tenant_id, g.id, wa_recipient_v1(g.chat) AS chat, wa_recipient_v1(g.sender) AS sender, g.at FROM gone g)
  SELECT array_agg(ROW(k.tenant_id, 0, 'message.lost', NULL, k.chat, NULL, k.id,
                       jsonb_build_object('id', k.id, 'chat', k.chat, 'sender', k.sender, 'at', k.at))::events ORDER BY k.at)
    INTO lost FROM known k;
  PERFORM tell_v1(lost, true);
  RETURN QUERY SELECT l.tenant_id::text, l.incoming, l.chat::text, l.data ->> 'sender' FROM unnest(lost) l;
END $$;

-- How far somebody who is told of every event of a tenant, in order, has come: `seq` was told, at `at`. `process` is telling.
CREATE TABLE event_readers (
  tenant_id varchar(100) NOT NULL,
  reader    text NOT NULL,
  seq       bigint NOT NULL,
  at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  process   integer,
  PRIMARY KEY (tenant_id, reader)
);

-- The number of the tenant's newest event that is older than this.
CREATE FUNCTION event_before(who text, age interval) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT coalesce((SELECT e.seq FROM events e WHERE e.tenant_id = who AND e.at < clock_timestamp() - age ORDER BY e.seq DESC LIMIT 1), 0)
$$;

-- The process tells from now on, after the number that is returned; null: there is nothing new, or another living process tells.
-- Who has not been told for an hour is not told what is older than that; a new reader not what is older than `uptime`.
CREATE FUNCTION claim_reader_v1(who text, name text, by_process integer, uptime interval) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  bound CONSTANT interval := '1 hour';
  head bigint := (SELECT h.last FROM event_heads h WHERE h.tenant_id = who);
  r event_readers;
BEGIN
  IF head IS NULL THEN RETURN NULL; END IF;
  SELECT * INTO r FROM event_readers x WHERE x.tenant_id = who AND x.reader = name FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO event_readers (tenant_id, reader, seq) VALUES (who, name, event_before(who, least(uptime, bound))) ON CONFLICT DO NOTHING;
    SELECT * INTO r FROM event_readers x WHERE x.tenant_id = who AND x.reader = name FOR UPDATE;
  END IF;
  -- A tenant of that name was removed, and its numbers begin anew.
  IF r.seq > head THEN r.seq := event_before(who, bound); END IF;
  IF r.seq = head OR (r.process <> by_process AND r.process IN (SELECT live_processes())) THEN RETURN NULL; END IF;
  IF r.at < clock_timestamp() - bound THEN r.seq := greatest(r.seq, event_before(who, bound)); END IF;
  UPDATE event_readers x SET process = by_process, seq = r.seq WHERE x.tenant_id = who AND x.reader = name;
  RETURN r.seq;
END $$;
