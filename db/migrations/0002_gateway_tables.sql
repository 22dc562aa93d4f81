-- Gapura's own tables, beside the seed's five.

-- A key is stored as its digest; a plain key of the old system counts as its digest.
CREATE FUNCTION key_digest(api_key text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT CASE WHEN api_key ~ '^sha256:[0-9a-f]{64}$' THEN api_key
              ELSE 'sha256:' || encode(sha256(convert_to(api_key, 'UTF8')), 'hex') END
$$;

-- Every process hears of a key that is added, changed or revoked, also with psql.
CREATE FUNCTION notify_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NOTIFY gapura_keys;
  RETURN NULL;
END $$;
CREATE INDEX api_keys_digest ON api_keys (key_digest(api_key));
CREATE TRIGGER api_keys_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON api_keys
  FOR EACH STATEMENT EXECUTE FUNCTION notify_keys();

-- The outbox and its history. `recipient` is a recipient key (core.jid).
CREATE TABLE messages (
  id          uuid PRIMARY KEY,
  seq         bigint GENERATED ALWAYS AS IDENTITY,
  tenant_id   varchar(100) NOT NULL,
  recipient   varchar(50) NOT NULL,
  kind        text NOT NULL,
  content     text NOT NULL,
  reply_to    text,
  mentions    text[] NOT NULL,
  client_ref  text,
  answers     text,                        -- the incoming message that a bot answers
  priority    smallint NOT NULL CHECK (priority BETWEEN 1 AND 3),  -- 1 urgent, 2 normal, 3 bulk
  status      text NOT NULL CHECK (status IN ('queued', 'sending', 'sent', 'delivered', 'read', 'played', 'failed',
                                              'expired', 'unknown', 'cancelled')),
  cause       text,                        -- why it failed, expired or is unknown
  created_at  timestamptz NOT NULL,
  send_at     timestamptz NOT NULL,        -- not before; equal to created_at unless the caller asked for later
  expires_at  timestamptz NOT NULL,
  expected_at timestamptz NOT NULL,        -- as promised at admission
  ahead       integer NOT NULL,            -- how many stood before it at admission
  in_line     boolean NOT NULL,            -- counted in `lines`; a message for later joins when it is due
  gap_ms      integer NOT NULL,            -- seconds to leave after the tenant's previous paced send, in ms; 0: unpaced
  gaps        jsonb NOT NULL,              -- {plugin: ms} as asked for
  quota_limit integer,                     -- the recipient's daily limit as answered; null when waived or not enabled
  quota_used  integer,
  quota_resets_at timestamptz,
  waived      text[] NOT NULL,
  counted     jsonb NOT NULL,              -- exactly what was counted, so that it can be given back
  explanation jsonb NOT NULL,              -- what each plugin said
  history     jsonb NOT NULL,              -- [{status, at, cause}] after `queued`, oldest first
  wa_id       text,
  process     integer,                     -- who holds it while it is `sending`
  claimed_at  timestamptz,
  sent_at     timestamptz,
  settled_at  timestamptz                  -- when what became of it was last recorded
);
CREATE INDEX messages_paced ON messages (tenant_id, priority, send_at, seq) WHERE status = 'queued' AND gap_ms > 0;
CREATE INDEX messages_unpaced ON messages (tenant_id, priority, send_at, seq) WHERE status = 'queued' AND gap_ms = 0;
CREATE INDEX messages_later ON messages (tenant_id, send_at, seq) WHERE status = 'queued' AND NOT in_line;
CREATE INDEX messages_due ON messages (send_at) WHERE status = 'queued' AND NOT in_line;
CREATE INDEX messages_recipient ON messages (tenant_id, recipient, priority, send_at, seq) WHERE status IN ('queued', 'sending');
CREATE INDEX messages_expiry ON messages (expires_at) WHERE status = 'queued';
CREATE INDEX messages_in_flight ON messages (tenant_id, process) WHERE status = 'sending';

-- Lives 30 days. The fingerprint is the SHA-256 of route, recipient and content as the caller gave it.
CREATE TABLE idempotency_keys (
  tenant_id   varchar(100) NOT NULL,
  client_ref  text NOT NULL,
  fingerprint text NOT NULL,
  message_id  uuid NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, client_ref)
);
CREATE INDEX idempotency_keys_message ON idempotency_keys (message_id);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- Every quota but the built-in daily one. `subject` is a recipient key, or '' for the whole tenant.
CREATE TABLE quota_counters (
  tenant_id    varchar(100) NOT NULL,
  name         text NOT NULL,
  period       text NOT NULL,
  subject      varchar(50) NOT NULL,
  window_start timestamptz NOT NULL,
  used         integer NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, name, period, subject, window_start)
);

-- One line per tenant: what waits in it and the slot of its latest paced send, so that `ahead` and `expected_at` cost nothing.
-- Invariant: over the queued messages that are in_line, waiting[p] counts the paced ones of priority p, waiting[3 + p] the
-- unpaced ones, and gap_ms[p] sums the gaps of the paced ones.
CREATE TABLE lines (
  tenant_id varchar(100) PRIMARY KEY,
  paced_at  timestamptz NOT NULL DEFAULT '-infinity',
  waiting   integer[] NOT NULL DEFAULT '{0,0,0,0,0,0}',
  gap_ms    bigint[] NOT NULL DEFAULT '{0,0,0}'
);

-- Persisted before any plugin sees it; (tenant_id, id) makes a repeated delivery one row.
CREATE TABLE incoming_messages (
  tenant_id     varchar(100) NOT NULL,
  id            text NOT NULL,
  seq           bigint GENERATED ALWAYS AS IDENTITY,
  chat          varchar(50) NOT NULL,
  sender        varchar(50) NOT NULL,
  phone         text,
  lid           text,
  push_name     text NOT NULL DEFAULT '',
  kind          text NOT NULL DEFAULT 'text',
  content       text NOT NULL,
  at            timestamptz NOT NULL,
  backlog       boolean NOT NULL DEFAULT false,
  received_at   timestamptz NOT NULL DEFAULT now(),
  process       integer,                   -- who shows it to the plugins
  dispatched_at timestamptz,
  replies       jsonb,                     -- what came of it: [{plugin, id} | {plugin, refused, detail}]
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX incoming_chat ON incoming_messages (tenant_id, chat, at);
CREATE INDEX incoming_waiting ON incoming_messages (seq) WHERE dispatched_at IS NULL;
CREATE INDEX incoming_tenant ON incoming_messages (tenant_id) WHERE dispatched_at IS NULL;

-- What plugins keep: one small dictionary per plugin and tenant.
CREATE TABLE plugin_data (
  tenant_id  varchar(100) NOT NULL,
  plugin     text NOT NULL,
  key        text NOT NULL,
  value      jsonb NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, plugin, key)
);
