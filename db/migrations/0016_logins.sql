-- What the library can load. It trusts its own rows: for a session that lacks a part it ends the whole process at the next send, and one
-- that it cannot read at all it passes over, so that the message goes to everybody but the phone that it is for.

-- 33 bytes that begin with 5, as base64.
CREATE FUNCTION wa_is_public_key_v1(key jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT jsonb_typeof(key) = 'string' AND key #>> '{}' ~ '^B[Q-Za-f][A-Za-z0-9+/]{42}$'
$$;

CREATE FUNCTION wa_is_chain_v1(chain jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT wa_is_public_key_v1(chain -> 'SenderRatchetKeyPublic')
     AND jsonb_typeof(chain #> '{ChainKey,Key}') = 'string' AND jsonb_typeof(chain #> '{ChainKey,Index}') = 'number'
     AND coalesce(jsonb_typeof(chain -> 'MessageKeys'), 'null') IN ('null', 'array')
     AND NOT coalesce(chain -> 'MessageKeys' @> '[null]', false)
$$;

CREATE FUNCTION wa_is_state_v1(state jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT wa_is_chain_v1(state -> 'SenderChain') AND jsonb_typeof(state -> 'RootKey') = 'string'
     AND wa_is_public_key_v1(state -> 'LocalIdentityPublic') AND wa_is_public_key_v1(state -> 'RemoteIdentityPublic')
     AND (coalesce(jsonb_typeof(state -> 'PendingPreKey'), 'null') = 'null' OR wa_is_public_key_v1(state #> '{PendingPreKey,BaseKey}'))
     AND coalesce(jsonb_typeof(state -> 'ReceiverChains'), 'null') IN ('null', 'array')
     AND NOT EXISTS (SELECT FROM jsonb_path_query(state, 'lax $.ReceiverChains[*]') chain
                      WHERE jsonb_typeof(state -> 'ReceiverChains') = 'array' AND wa_is_chain_v1(chain) IS NOT TRUE)
$$;

CREATE FUNCTION wa_is_session_v1(record bytea) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  session jsonb;
BEGIN
  session := convert_from(record, 'UTF8')::jsonb;
  RETURN wa_is_state_v1(session -> 'SessionState') IS TRUE
     AND coalesce(jsonb_typeof(session -> 'PreviousStates'), 'null') IN ('null', 'array')
     AND NOT EXISTS (SELECT FROM jsonb_path_query(session, 'lax $.PreviousStates[*]') state
                      WHERE jsonb_typeof(session -> 'PreviousStates') = 'array' AND wa_is_state_v1(state) IS NOT TRUE);
EXCEPTION WHEN OTHERS THEN
  RETURN false;
END $$;

-- Conversations of a device that the library cannot load go, and begin anew; with whom they were. While the device is closed.
CREATE FUNCTION wa_drop_damaged_v1(device text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY DELETE FROM whatsmeow_sessions s
    WHERE s.our_jid = device AND s.session IS NOT NULL AND NOT wa_is_session_v1(s.session) RETURNING s.their_id;
END $$;

-- Whether a login is of a WhatsApp on loopback stands in auth_creds too, so that it is known where that is all that came.
CREATE OR REPLACE FUNCTION wa_creds_v1(device text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT CASE WHEN EXISTS (SELECT FROM sessions s WHERE s.jid = device AND s.sandbox)
                      THEN left(creds, -1) || ', "sandbox" : true}' ELSE creds END
    FROM (SELECT json_build_object(
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
        'adv_account_sig_key', 'adv_device_sig'])::text AS creds
    FROM whatsmeow_device d WHERE d.jid = device) whole);
END $$;

-- A session learns whose device it has after that has its login.
CREATE FUNCTION wa_sandbox_mirrored() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE auth_creds c SET data = wa_creds_v1(d.jid), updated_at = CURRENT_TIMESTAMP FROM wa_devices d
   WHERE c.tenant_id = NEW.tenant_id AND d.tenant_id = NEW.tenant_id AND NOT d.forgotten
     AND to_regclass('whatsmeow_device') IS NOT NULL AND wa_creds_v1(d.jid) <> c.data;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'auth_creds is not in step with whatsmeow''s store: %', SQLERRM;
  RETURN NULL;
END $$;
CREATE TRIGGER wa_sandbox_mirrored_new AFTER INSERT ON sessions FOR EACH ROW WHEN (NEW.sandbox) EXECUTE FUNCTION wa_sandbox_mirrored();
CREATE TRIGGER wa_sandbox_mirrored AFTER UPDATE OF jid, sandbox ON sessions FOR EACH ROW
  WHEN (NEW.jid IS NOT NULL AND (OLD.sandbox, OLD.jid) IS DISTINCT FROM (NEW.sandbox, NEW.jid)) EXECUTE FUNCTION wa_sandbox_mirrored();

-- Whoever opens this link may also link another number than the tenant had before.
ALTER TABLE pair_links ADD COLUMN force boolean NOT NULL DEFAULT false;
