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
