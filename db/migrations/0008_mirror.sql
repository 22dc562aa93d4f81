-- A tenant's login stands in auth_creds (one row) and auth_keys (many), as whatsmeow has it in its own tables: triggers write both in
-- the same transaction. What whatsmeow keeps besides (contacts, settings, app-state versions) it learns again by itself.

-- Whose device this is, known from the connection that made it (wa.tenant), or from its being linked. One per tenant: rows of any
-- other device are nobody's. `forgotten`: somebody deleted the row of auth_creds, so the device is to be logged out.
-- `epoch`: under which PostgreSQL its conversations were last known to be whole.
CREATE TABLE wa_devices (
  jid        text PRIMARY KEY,
  tenant_id  varchar(100) NOT NULL UNIQUE,
  forgotten  boolean NOT NULL DEFAULT false,
  epoch      text
);

-- Logins that another has replaced: rows of the old gateway under a tenant that was linked anew. Secret.
CREATE TABLE auth_replaced (
  tenant_id   varchar(100) NOT NULL,
  replaced_at timestamptz NOT NULL DEFAULT now(),
  creds       text,
  keys        jsonb NOT NULL
);

-- How values are written. None of these can fail, whatever bytes there are.

CREATE FUNCTION wa_base64(bytes bytea) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT translate(encode(bytes, 'base64'), E'\n', '')
$$;

CREATE FUNCTION wa_buffer(bytes bytea) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT '{"type":"Buffer","data":"' || translate(encode(bytes, 'base64'), E'\n', '') || '"}'
$$;

-- Sessions and sender keys are JSON already. What is not plain ASCII that begins so, is written as any other bytes.
CREATE FUNCTION wa_record(bytes bytea) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN t LIKE '{%' AND strpos(t, '\') = 0 AND t NOT LIKE '{"type":"Buffer"%' THEN t ELSE wa_buffer(bytes) END
    FROM (SELECT encode(bytes, 'escape') AS t) x
$$;

-- `628…:7` is 628….7 in a key, as Baileys writes it. What is no such address stays as it is, behind a colon that no other begins with.
CREATE FUNCTION wa_address(id text, dot text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN id ~ '^[0-9]+(_[0-9]+)?:[0-9]+$' THEN replace(id, ':', dot) ELSE ':' || id END
$$;

-- A name that a key has no room for. The row is not mirrored; nothing that WhatsApp makes is nearly as long.
CREATE FUNCTION wa_fits(name text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT char_length(name) <= 255
$$;

CREATE FUNCTION wa_session_name(their_id text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT 'session-' || wa_address(their_id, '.')
$$;
CREATE FUNCTION wa_identity_name(their_id text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT 'identity-key-' || wa_address(their_id, '.')
$$;
-- Chats of WhatsApp have no colon, which parts them from the sender here.
CREATE FUNCTION wa_sender_key_name(chat_id text, sender_id text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT 'sender-key-' || replace(replace(chat_id, '%', '%25'), ':', '%3A') || '::' || wa_address(sender_id, '::')
$$;
CREATE FUNCTION wa_app_state_name(key_id bytea) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT 'app-state-sync-key-' || wa_base64(key_id)
$$;
CREATE FUNCTION wa_identity_value(identity bytea) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT wa_buffer('\x05'::bytea || identity)
$$;
CREATE FUNCTION wa_pre_key_value(key bytea, uploaded boolean) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT '{"private":' || wa_buffer(key) || ',"uploaded":' || uploaded::text || '}'
$$;
CREATE FUNCTION wa_app_state_value(key_data bytea, at bigint, fingerprint bytea) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT '{"keyData":"' || wa_base64(key_data) || '","timestamp":"' || at || '","fingerprint":' || wa_buffer(fingerprint) || '}'
$$;

-- The functions below are plpgsql because whatsmeow makes its tables later than this runs.

CREATE FUNCTION wa_creds_v1(device text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT json_build_object(
      'format', 'whatsmeow',
      'noiseKey', json_build_object('private', wa_buffer(d.noise_key)::json),
      'signedIdentityKey', json_build_object('private', wa_buffer(d.identity_key)::json),
      'signedPreKey', json_build_object(
        'keyPair', json_build_object('private', wa_buffer(d.signed_pre_key)::json),
        'signature', wa_buffer(d.signed_pre_key_sig)::json, 'keyId', d.signed_pre_key_id),
      'registrationId', d.registration_id,
      'advSecretKey', wa_base64(d.adv_key),
      'me', json_build_object('id', d.jid, 'lid', d.lid, 'name', d.push_name),
      'account', json_build_object(
        'details', wa_base64(d.adv_details), 'accountSignatureKey', wa_base64(d.adv_account_sig_key),
        'accountSignature', wa_base64(d.adv_account_sig), 'deviceSignature', wa_base64(d.adv_device_sig)),
      'platform', d.platform,
      'whatsmeow', to_jsonb(d) - ARRAY['jid', 'lid', 'push_name', 'platform', 'registration_id', 'noise_key', 'identity_key',
        'signed_pre_key', 'signed_pre_key_id', 'signed_pre_key_sig', 'adv_key', 'adv_details', 'adv_account_sig',
        'adv_account_sig_key', 'adv_device_sig'])::text
    FROM whatsmeow_device d WHERE d.jid = device);
END $$;

-- All that auth_keys should hold for a device.
CREATE FUNCTION wa_keys_v1(device text) RETURNS TABLE (key text, value text) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT name, val FROM (
    SELECT wa_session_name(s.their_id) AS name, wa_record(s.session) AS val FROM whatsmeow_sessions s WHERE s.our_jid = device
    UNION ALL
    SELECT wa_identity_name(i.their_id), wa_identity_value(i.identity) FROM whatsmeow_identity_keys i WHERE i.our_jid = device
    UNION ALL
    SELECT 'pre-key-' || p.key_id, wa_pre_key_value(p.key, p.uploaded) FROM whatsmeow_pre_keys p WHERE p.jid = device
    UNION ALL
    SELECT wa_sender_key_name(k.chat_id, k.sender_id), wa_record(k.sender_key) FROM whatsmeow_sender_keys k WHERE k.our_jid = device
    UNION ALL
    SELECT wa_app_state_name(a.key_id), wa_app_state_value(a.key_data, a.timestamp, a.fingerprint)
      FROM whatsmeow_app_state_sync_keys a WHERE a.jid = device) rows WHERE wa_fits(name);
END $$;

-- Where mirror and store do not agree: `key` null is the row of auth_creds; is 'missing', 'different' or 'too_many'.
CREATE FUNCTION wa_differences_v1(who text) RETURNS TABLE (key text, problem text) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
  device text;
  wanted text;
  found_creds text;
BEGIN
  SELECT d.jid INTO device FROM wa_devices d WHERE d.tenant_id = who AND NOT d.forgotten;
  IF device IS NULL THEN RETURN; END IF;
  wanted := wa_creds_v1(device);
  SELECT c.data INTO found_creds FROM auth_creds c WHERE c.tenant_id = who;
  IF wanted IS DISTINCT FROM found_creds THEN
    RETURN QUERY SELECT NULL::text, CASE WHEN found_creds IS NULL THEN 'missing' WHEN wanted IS NULL THEN 'too_many' ELSE 'different' END;
  END IF;
  RETURN QUERY
  SELECT coalesce(w.key, k.key::text), CASE WHEN k.key IS NULL THEN 'missing' WHEN w.key IS NULL THEN 'too_many' ELSE 'different' END
    FROM wa_keys_v1(device) w FULL JOIN (SELECT a.key, a.value FROM auth_keys a WHERE a.tenant_id = who) k ON w.key = k.key
   WHERE w.value IS DISTINCT FROM k.value OR w.key IS NULL OR k.key IS NULL ORDER BY 1;
END $$;

-- Make mirror what the store is. While nobody has the device open: otherwise a row that changes meanwhile may be lost.
CREATE FUNCTION wa_fill_v1(who text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  device text;
  wanted text;
  old_creds text;
  changed integer;
BEGIN
  SELECT d.jid INTO device FROM wa_devices d WHERE d.tenant_id = who AND NOT d.forgotten;
  wanted := wa_creds_v1(device);
  IF wanted IS NULL THEN RETURN 0; END IF;
  SELECT c.data INTO old_creds FROM auth_creds c WHERE c.tenant_id = who;
  IF old_creds NOT LIKE '{"format" : "whatsmeow"%' THEN PERFORM wa_set_aside_v1(who); END IF;
  WITH wrong AS MATERIALIZED (SELECT * FROM wa_differences_v1(who)),
       creds AS (INSERT INTO auth_creds (tenant_id, data) SELECT who, wanted FROM wrong x WHERE x.key IS NULL
                 ON CONFLICT (tenant_id) DO UPDATE SET data = EXCLUDED.data, updated_at = CURRENT_TIMESTAMP),
       extra AS (DELETE FROM auth_keys k USING wrong x WHERE k.tenant_id = who AND k.key = x.key AND x.problem = 'too_many'),
       right_ones AS (
         INSERT INTO auth_keys (tenant_id, key, value)
           SELECT who, w.key, w.value FROM wa_keys_v1(device) w JOIN wrong x ON x.key = w.key
         ON CONFLICT (tenant_id, key) DO UPDATE SET value = EXCLUDED.value, updated_at = CURRENT_TIMESTAMP)
  SELECT count(*) INTO changed FROM wrong;
  RETURN changed;
END $$;

-- Another login takes the place of what the tenant has: keep that.
CREATE FUNCTION wa_set_aside_v1(who text) RETURNS void LANGUAGE sql AS $$
  INSERT INTO auth_replaced (tenant_id, creds, keys)
    SELECT who, (SELECT c.data FROM auth_creds c WHERE c.tenant_id = who),
           coalesce((SELECT jsonb_object_agg(k.key, k.value) FROM auth_keys k WHERE k.tenant_id = who), '{}');
  DELETE FROM auth_keys k WHERE k.tenant_id = who
$$;

-- Which PostgreSQL this is, and which life of it: another after a restore of a backup of any kind, except of one that PostgreSQL cannot
-- tell from a crash (a copy of its files).
CREATE FUNCTION wa_epoch_v1() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  server text;
BEGIN
  BEGIN
    server := (SELECT system_identifier FROM pg_control_system()) || '/' || (SELECT timeline_id FROM pg_control_checkpoint());
  EXCEPTION WHEN insufficient_privilege THEN
    server := '';
  END;
  RETURN server || '/' || (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) || '/' || 'wa_devices'::regclass::oid;
END $$;

-- The triggers' work. An error in any of them costs the mirror a row, which the next opening mends, and never whatsmeow its own write.

CREATE FUNCTION wa_keep_v1(device text, name text, val text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  who text;
BEGIN
  SELECT d.tenant_id INTO who FROM wa_devices d WHERE d.jid = device AND NOT d.forgotten;
  IF who IS NULL OR NOT wa_fits(name) THEN RETURN; END IF;
  -- Not at once an upsert: that takes a number of the sequence each time, and there are but 2^31.
  UPDATE auth_keys k SET value = val, updated_at = CURRENT_TIMESTAMP WHERE k.tenant_id = who AND k.key = name;
  IF NOT FOUND THEN
    INSERT INTO auth_keys (tenant_id, key, value) VALUES (who, name, val)
      ON CONFLICT (tenant_id, key) DO UPDATE SET value = EXCLUDED.value, updated_at = CURRENT_TIMESTAMP;
  END IF;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'auth_keys is not in step with whatsmeow''s store: %', SQLERRM;
END $$;

CREATE FUNCTION wa_drop_v1(device text, name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM auth_keys k USING wa_devices d
   WHERE d.jid = device AND NOT d.forgotten AND k.tenant_id = d.tenant_id AND k.key = name;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'auth_keys is not in step with whatsmeow''s store: %', SQLERRM;
END $$;

CREATE FUNCTION wa_sessions_mirrored() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND OLD.their_id <> NEW.their_id) THEN
    PERFORM wa_drop_v1(OLD.our_jid, wa_session_name(OLD.their_id));
  END IF;
  IF TG_OP <> 'DELETE' THEN PERFORM wa_keep_v1(NEW.our_jid, wa_session_name(NEW.their_id), wa_record(NEW.session)); END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION wa_identity_keys_mirrored() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND OLD.their_id <> NEW.their_id) THEN
    PERFORM wa_drop_v1(OLD.our_jid, wa_identity_name(OLD.their_id));
  END IF;
  IF TG_OP <> 'DELETE' THEN
    PERFORM wa_keep_v1(NEW.our_jid, wa_identity_name(NEW.their_id), wa_identity_value(NEW.identity));
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION wa_pre_keys_mirrored() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND OLD.key_id <> NEW.key_id) THEN
    PERFORM wa_drop_v1(OLD.jid, 'pre-key-' || OLD.key_id);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    PERFORM wa_keep_v1(NEW.jid, 'pre-key-' || NEW.key_id, wa_pre_key_value(NEW.key, NEW.uploaded));
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION wa_sender_keys_mirrored() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND (OLD.chat_id, OLD.sender_id) <> (NEW.chat_id, NEW.sender_id)) THEN
    PERFORM wa_drop_v1(OLD.our_jid, wa_sender_key_name(OLD.chat_id, OLD.sender_id));
  END IF;
  IF TG_OP <> 'DELETE' THEN
    PERFORM wa_keep_v1(NEW.our_jid, wa_sender_key_name(NEW.chat_id, NEW.sender_id), wa_record(NEW.sender_key));
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION wa_app_state_sync_keys_mirrored() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND OLD.key_id <> NEW.key_id) THEN
    PERFORM wa_drop_v1(OLD.jid, wa_app_state_name(OLD.key_id));
  END IF;
  IF TG_OP <> 'DELETE' THEN
    PERFORM wa_keep_v1(NEW.jid, wa_app_state_name(NEW.key_id), wa_app_state_value(NEW.key_data, NEW.timestamp, NEW.fingerprint));
  END IF;
  RETURN NULL;
END $$;

-- A new device is its tenant's when the tenant has no other. Logging out, from wherever, deletes the row, and with it the login.
CREATE FUNCTION wa_device_mirrored() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  who text;
BEGIN
  IF TG_OP = 'DELETE' THEN
    DELETE FROM wa_devices d WHERE d.jid = OLD.jid RETURNING CASE WHEN NOT d.forgotten THEN d.tenant_id END INTO who;
    IF who IS NOT NULL THEN
      DELETE FROM auth_creds c WHERE c.tenant_id = who;
      DELETE FROM auth_keys k WHERE k.tenant_id = who;
    END IF;
    RETURN NULL;
  END IF;
  IF TG_OP = 'INSERT' THEN
    who := current_setting('wa.tenant', true);
    IF char_length(who) BETWEEN 1 AND 100 THEN
      DELETE FROM wa_devices d WHERE d.tenant_id = who AND d.forgotten;
      INSERT INTO wa_devices (jid, tenant_id, epoch) VALUES (NEW.jid, who, wa_epoch_v1()) ON CONFLICT DO NOTHING;
      IF FOUND AND EXISTS (SELECT FROM auth_creds c WHERE c.tenant_id = who) THEN PERFORM wa_set_aside_v1(who); END IF;
    END IF;
  ELSIF OLD.jid <> NEW.jid THEN
    UPDATE wa_devices d SET jid = NEW.jid WHERE d.jid = OLD.jid;
  END IF;
  INSERT INTO auth_creds AS c (tenant_id, data)
    SELECT d.tenant_id, wa_creds_v1(NEW.jid) FROM wa_devices d WHERE d.jid = NEW.jid AND NOT d.forgotten
    ON CONFLICT (tenant_id) DO UPDATE SET data = EXCLUDED.data, updated_at = CURRENT_TIMESTAMP;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'auth_creds is not in step with whatsmeow''s store: %', SQLERRM;
  RETURN NULL;
END $$;

-- The row of a device that is there was deleted by hand: the old gateway's way to ask for a new scan.
CREATE FUNCTION wa_creds_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE wa_devices d SET forgotten = true WHERE d.tenant_id = OLD.tenant_id AND NOT d.forgotten;
  IF FOUND THEN
    DELETE FROM auth_keys k WHERE k.tenant_id = OLD.tenant_id;
    PERFORM pg_notify('gapura_forgotten', OLD.tenant_id);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER wa_creds_deleted AFTER DELETE ON auth_creds FOR EACH ROW EXECUTE FUNCTION wa_creds_deleted();

-- Put the triggers on one of whatsmeow's tables, if that is there; true when they were not.
-- Their names begin with a capital so that they come before those of the foreign keys: a login that goes, goes at once, and its
-- rows then find nothing to do.
CREATE FUNCTION wa_install_v1(kind text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  source text := 'whatsmeow_' || kind;
BEGIN
  IF to_regclass(source) IS NULL
     OR 2 = (SELECT count(*) FROM pg_trigger t WHERE t.tgrelid = to_regclass(source) AND t.tgenabled IN ('O', 'A')
              AND t.tgname IN ('Mirror_v1', 'Mirror_changes_v1')) THEN
    RETURN false;
  END IF;
  EXECUTE format('CREATE OR REPLACE TRIGGER "Mirror_v1" AFTER INSERT OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION %I()',
                 source, 'wa_' || kind || '_mirrored');
  EXECUTE format('CREATE OR REPLACE TRIGGER "Mirror_changes_v1" AFTER UPDATE ON %I FOR EACH ROW '
                 'WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION %I()', source, 'wa_' || kind || '_mirrored');
  EXECUTE format('ALTER TABLE %I ENABLE TRIGGER "Mirror_v1"', source);
  EXECUTE format('ALTER TABLE %I ENABLE TRIGGER "Mirror_changes_v1"', source);
  RETURN true;
END $$;

-- What is to be done about a tenant's device before it is opened, by whom nobody else has it open. Says
--   ready      its login is whole, and the mirror agrees
--   fresh      as ready, but the database is of another time: its conversations begin anew, as reused counters would be dropped
--   forgotten  somebody deleted its row of auth_creds: there is no login any more
--   lost       auth_creds has a login, and the store has not: restore it
--   absent     there is no login
CREATE FUNCTION wa_open_v1(who text, device text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  known wa_devices;
  loser text;
BEGIN
  SELECT * INTO known FROM wa_devices d WHERE d.tenant_id = who;
  IF known.forgotten THEN
    PERFORM wa_remove_v1(known.jid);
    IF known.jid = device THEN RETURN 'forgotten'; END IF;
  END IF;
  IF NOT device_exists_v1(device) THEN
    IF EXISTS (SELECT FROM auth_creds c WHERE c.tenant_id = who AND c.data LIKE '{"format" : "whatsmeow"%'
                AND (known.jid = device OR strpos(c.data, '"' || device || '"') > 0)) THEN
      RETURN 'lost';
    END IF;
    RETURN 'absent';
  END IF;
  IF known.jid IS DISTINCT FROM device THEN
    PERFORM wa_remove_v1(known.jid);
    -- Numbers of devices are given again: whoever had this one has lost it.
    DELETE FROM wa_devices d WHERE d.jid = device RETURNING d.tenant_id INTO loser;
    DELETE FROM auth_creds c WHERE c.tenant_id = loser;
    DELETE FROM auth_keys k WHERE k.tenant_id = loser;
    INSERT INTO wa_devices (jid, tenant_id, epoch) VALUES (device, who, wa_epoch_v1()) RETURNING * INTO known;
  END IF;
  IF known.epoch IS DISTINCT FROM wa_epoch_v1() THEN
    PERFORM wa_begin_afresh_v1(device);
    PERFORM wa_fill_v1(who);
    RETURN 'fresh';
  END IF;
  PERFORM wa_fill_v1(who);
  RETURN 'ready';
END $$;

-- A device and all that is its own go; nothing when there is none.
CREATE FUNCTION wa_remove_v1(device text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF to_regclass('whatsmeow_device') IS NOT NULL THEN
    DELETE FROM whatsmeow_device d WHERE d.jid = device;
  END IF;
  DELETE FROM wa_devices d WHERE d.jid = device;
END $$;

-- Conversations, and what we ourselves say in groups, begin anew: whoever went back in time would use counters twice, and phones drop
-- what comes under a counter that they have seen.
CREATE FUNCTION wa_begin_afresh_v1(device text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM whatsmeow_sessions s WHERE s.our_jid = device;
  DELETE FROM whatsmeow_sender_keys k USING whatsmeow_device d
   WHERE k.our_jid = device AND d.jid = device
     AND split_part(split_part(k.sender_id, ':', 1), '_', 1) IN (split_part(d.jid, ':', 1), split_part(d.lid, ':', 1));
  UPDATE wa_devices d SET epoch = wa_epoch_v1() WHERE d.jid = device;
END $$;

-- Make the store from what was read out of the mirror: {table without "whatsmeow_": [rows]}, a bytea as \x and hex. A row that is there stays.
-- A login of unknown age (its tenant's row of wa_devices is not there) has no epoch, so that its conversations begin afresh.
CREATE FUNCTION wa_restore_v1(who text, device text, store jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  kind text;
  columns text;
BEGIN
  INSERT INTO wa_devices (jid, tenant_id) VALUES (device, who) ON CONFLICT (tenant_id) DO UPDATE SET jid = EXCLUDED.jid, forgotten = false;
  FOREACH kind IN ARRAY ARRAY['device', 'pre_keys', 'sessions', 'identity_keys', 'sender_keys', 'app_state_sync_keys'] LOOP
    -- Columns that whatsmeow has come to have since then keep their defaults.
    SELECT string_agg(quote_ident(a.attname), ', ') INTO columns FROM pg_attribute a
     WHERE a.attrelid = to_regclass('whatsmeow_' || kind) AND a.attnum > 0 AND NOT a.attisdropped AND store->kind->0 ? a.attname;
    CONTINUE WHEN columns IS NULL;
    EXECUTE format('INSERT INTO %1$I (%2$s) SELECT %2$s FROM jsonb_populate_recordset(NULL::%1$I, $1) ON CONFLICT DO NOTHING',
                   'whatsmeow_' || kind, columns) USING store->kind;
  END LOOP;
  PERFORM wa_fill_v1(who);
END $$;

-- The number that a tenant was linked to last, also when it is not any more.
ALTER TABLE sessions ADD COLUMN number varchar(50);
UPDATE sessions SET number = split_part(jid, ':', 1) WHERE jid IS NOT NULL;

-- Why a device should not become the tenant's: 'number_taken' (another tenant is linked to that number), 'another_number' (not the
-- tenant's number of before); null: it may. The very same device means that the other tenant has lost it.
CREATE FUNCTION wa_link_problem_v1(who text, device text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN EXISTS (SELECT FROM sessions s JOIN api_keys a USING (tenant_id)
                  WHERE s.tenant_id <> who AND s.jid <> device AND split_part(s.jid, ':', 1) = split_part(device, ':', 1))
      THEN 'number_taken'
    WHEN EXISTS (SELECT FROM sessions s WHERE s.tenant_id = who AND s.number <> split_part(device, ':', 1)) THEN 'another_number'
  END
$$;

-- The version of whatsmeow's tables; null when one that the mirror needs is not there.
CREATE FUNCTION wa_store_version_v1() RETURNS integer LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF EXISTS (SELECT FROM unnest(ARRAY['version', 'device', 'sessions', 'identity_keys', 'pre_keys', 'sender_keys', 'app_state_sync_keys']) kind
              WHERE to_regclass('whatsmeow_' || kind) IS NULL) THEN
    RETURN NULL;
  END IF;
  RETURN (SELECT max(v.version) FROM whatsmeow_version v);
END $$;
