-- Several processes on several machines: who holds a session by now, and who has lost it.

-- The fence inside the library. A client's connections say whose they are (wa.tenant) and under which fence they were opened (wa.fence). No
-- ciphertext leaves before whatsmeow has stored the session, or our own sender key, that made it; so a process that has lost its lease, and does
-- not know it yet, is refused here and sends nothing. This is the one trigger that is meant to fail whatsmeow's write. Connections without a
-- fence (moving in, restoring) are not asked.
CREATE FUNCTION wa_fenced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  who text := current_setting('wa.tenant', true);
  shown text := current_setting('wa.fence', true);
  held record;
BEGIN
  IF coalesce(who, '') = '' OR coalesce(shown, '') = '' THEN RETURN NEW; END IF;
  SELECT s.fence::text AS fence, split_part(s.jid, ':', 1) AS number, split_part(s.lid, ':', 1) AS lid INTO held
    FROM sessions s WHERE s.tenant_id = who;
  IF held.fence = shown THEN RETURN NEW; END IF;
  IF TG_TABLE_NAME = 'whatsmeow_sender_keys' THEN
    -- What others say in groups is read with their keys: who reads too late does no harm.
    IF split_part(split_part(NEW.sender_id, ':', 1), '_', 1) NOT IN (held.number, held.lid) THEN RETURN NEW; END IF;
  END IF;
  RAISE EXCEPTION 'gapura fence: the session has another holder' USING ERRCODE = 'GAF01';
END $$;

-- As wa_install_v1: put the fence on one of whatsmeow's tables, if that is there; true when it was not.
CREATE FUNCTION wa_install_fence_v1(kind text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  source text := 'whatsmeow_' || kind;
BEGIN
  IF to_regclass(source) IS NULL
     OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = to_regclass(source) AND t.tgenabled IN ('O', 'A') AND t.tgname = 'Fence_v1') THEN
    RETURN false;
  END IF;
  EXECUTE format('CREATE OR REPLACE TRIGGER "Fence_v1" BEFORE INSERT OR UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION wa_fenced()', source);
  EXECUTE format('ALTER TABLE %I ENABLE TRIGGER "Fence_v1"', source);
  RETURN true;
END $$;

-- As lease_v1, and whether the session was still another process's: that one may live, and come back.
CREATE FUNCTION lease_v2(by_process integer, whom text[], length interval)
RETURNS TABLE (tenant_id text, fence bigint, jid text, sandbox boolean, taken_over boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO sessions (tenant_id) SELECT w FROM unnest(whom) w ORDER BY 1 ON CONFLICT DO NOTHING;
  PERFORM FROM sessions s WHERE s.tenant_id = ANY (whom) ORDER BY s.tenant_id FOR UPDATE;
  RETURN QUERY
  UPDATE sessions s
     SET fence = s.fence + (s.process IS DISTINCT FROM by_process)::integer, process = by_process,
         leased_until = clock_timestamp() + length
    FROM sessions before
   WHERE before.tenant_id = s.tenant_id AND s.tenant_id = ANY (whom)
     AND (s.process IS NULL OR s.process = by_process OR s.leased_until < clock_timestamp()
          OR s.process NOT IN (SELECT live_processes()))
  RETURNING s.tenant_id::text, s.fence, s.jid, s.sandbox, coalesce(before.process <> by_process, false);
END $$;

-- A supervisor shows that it lives, and takes its share of the sessions, by an advisory lock (its process's number, in this class) on its
-- listening connection.
CREATE FUNCTION supervisor_class() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1734440054';

CREATE FUNCTION live_supervisors() RETURNS SETOF integer LANGUAGE sql VOLATILE AS $$
  SELECT objid::bigint::integer FROM pg_locks
   WHERE locktype = 'advisory' AND classid = supervisor_class()::oid AND objsubid = 2 AND granted
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
$$;
