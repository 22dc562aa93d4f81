-- Logins that were moved in from the old gateway, and what they replaced.

CREATE SEQUENCE gapura_backup_batch;

-- Copies of what a moved login replaced, as it was; one batch for each login. Secret. Nothing reads them: they are there for people.
CREATE TABLE gapura_backup_auth_creds (
  batch      bigint NOT NULL,
  taken_at   timestamptz NOT NULL DEFAULT now(),
  tenant_id  varchar(100) NOT NULL,
  data       text,
  updated_at timestamp,
  PRIMARY KEY (batch, tenant_id)
);
CREATE TABLE gapura_backup_auth_keys (
  batch      bigint NOT NULL,
  taken_at   timestamptz NOT NULL DEFAULT now(),
  tenant_id  varchar(100) NOT NULL,
  key        varchar(255) NOT NULL,
  value      text,
  updated_at timestamp,
  PRIMARY KEY (batch, tenant_id, key)
);
CREATE TABLE gapura_backup_whatsmeow (
  batch      bigint NOT NULL,
  taken_at   timestamptz NOT NULL DEFAULT now(),
  tenant_id  varchar(100) NOT NULL,
  table_name text NOT NULL,
  contents   jsonb NOT NULL                     -- the row, by column
);

-- One row per login that came. `extra`: JSON that whatsmeow has no place for, wanted by whoever moves out again; secret.
-- `connected_at`: when WhatsApp first took it; null: not yet.
CREATE TABLE moved_in (
  tenant_id    varchar(100) PRIMARY KEY,
  batch        bigint NOT NULL,
  at           timestamptz NOT NULL DEFAULT now(),
  source       text NOT NULL CHECK (source IN ('folder', 'rows', 'database')),
  jid          text NOT NULL,
  extra        text NOT NULL,
  connected_at timestamptz
);

-- Nobody knows whether a login is still good before WhatsApp has taken it.
CREATE FUNCTION moved_in_connected() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE moved_in m SET connected_at = clock_timestamp()
   WHERE m.tenant_id = NEW.tenant_id AND m.jid = NEW.jid AND m.connected_at IS NULL;
  RETURN NULL;
END $$;
CREATE TRIGGER sessions_moved_in AFTER UPDATE ON sessions FOR EACH ROW
  WHEN (NEW.state = 'connected' AND OLD.state <> 'connected') EXECUTE FUNCTION moved_in_connected();

-- Copy what the tenant has, and every row of the device that is about to be replaced; the number of rows.
CREATE FUNCTION backup_v1(in_batch bigint, who text, device text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  t record;
  n bigint;
  total bigint := 0;
BEGIN
  INSERT INTO gapura_backup_auth_creds (batch, tenant_id, data, updated_at)
    SELECT in_batch, tenant_id, data, updated_at FROM auth_creds WHERE tenant_id = who;
  GET DIAGNOSTICS n = ROW_COUNT;
  total := total + n;
  INSERT INTO gapura_backup_auth_keys (batch, tenant_id, key, value, updated_at)
    SELECT in_batch, tenant_id, key, value, updated_at FROM auth_keys WHERE tenant_id = who;
  GET DIAGNOSTICS n = ROW_COUNT;
  total := total + n;
  FOR t IN SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relkind = 'r' AND c.relname LIKE 'whatsmeow\_%' AND a.attname IN ('jid', 'our_jid') AND NOT a.attisdropped
              AND pg_table_is_visible(c.oid) LOOP
    EXECUTE format('INSERT INTO gapura_backup_whatsmeow (batch, tenant_id, table_name, contents)
                    SELECT $1, $2, %L, to_jsonb(x) FROM %I x WHERE x.%I = $3', t.relname, t.relname, t.attname)
      USING in_batch, who, device;
    GET DIAGNOSTICS n = ROW_COUNT;
    total := total + n;
  END LOOP;
  RETURN total;
END $$;
