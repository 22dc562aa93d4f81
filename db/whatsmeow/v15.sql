-- The tables of whatsmeow's store, version 15, as the neonize of pyproject.toml makes them when it first opens a database: for logins that
-- are moved in before that. whatsmeow finds its version and leaves them alone. tests/wire/test_moving_in.py compares the two.

CREATE TABLE whatsmeow_version (version integer, compat integer);
INSERT INTO whatsmeow_version (version, compat) VALUES (15, 8);

CREATE TABLE whatsmeow_device (
  jid                  text PRIMARY KEY,
  lid                  text,
  facebook_uuid        uuid,
  registration_id      bigint NOT NULL CHECK (registration_id >= 0 AND registration_id < 4294967296),
  noise_key            bytea NOT NULL CHECK (length(noise_key) = 32),
  identity_key         bytea NOT NULL CHECK (length(identity_key) = 32),
  signed_pre_key       bytea NOT NULL CHECK (length(signed_pre_key) = 32),
  signed_pre_key_id    integer NOT NULL CHECK (signed_pre_key_id >= 0 AND signed_pre_key_id < 16777216),
  signed_pre_key_sig   bytea NOT NULL CHECK (length(signed_pre_key_sig) = 64),
  adv_key              bytea NOT NULL,
  adv_details          bytea NOT NULL,
  adv_account_sig      bytea NOT NULL CHECK (length(adv_account_sig) = 64),
  adv_account_sig_key  bytea NOT NULL CHECK (length(adv_account_sig_key) = 32),
  adv_device_sig       bytea NOT NULL CHECK (length(adv_device_sig) = 64),
  platform             text NOT NULL DEFAULT '',
  business_name        text NOT NULL DEFAULT '',
  push_name            text NOT NULL DEFAULT '',
  lid_migration_ts     bigint NOT NULL DEFAULT 0,
  companion_meta_nonce text NOT NULL DEFAULT ''
);

CREATE TABLE whatsmeow_identity_keys (
  our_jid  text REFERENCES whatsmeow_device (jid) ON DELETE CASCADE ON UPDATE CASCADE,
  their_id text,
  identity bytea NOT NULL CHECK (length(identity) = 32),
  PRIMARY KEY (our_jid, their_id)
);

CREATE TABLE whatsmeow_pre_keys (
  jid      text REFERENCES whatsmeow_device (jid) ON DELETE CASCADE ON UPDATE CASCADE,
  key_id   integer CHECK (key_id >= 0 AND key_id < 16777216),
  key      bytea NOT NULL CHECK (length(key) = 32),
  uploaded boolean NOT NULL,
  PRIMARY KEY (jid, key_id)
);

CREATE TABLE whatsmeow_sessions (
  our_jid  text REFERENCES whatsmeow_device (jid) ON DELETE CASCADE ON UPDATE CASCADE,
  their_id text,
  session  bytea,
  PRIMARY KEY (our_jid, their_id)
);

CREATE TABLE whatsmeow_sender_keys (
  our_jid    text REFERENCES whatsmeow_device (jid) ON DELETE CASCADE ON UPDATE CASCADE,
  chat_id    text,
  sender_id  text,
  sender_key bytea NOT NULL,
  PRIMARY KEY (our_jid, chat_id, sender_id)
);

CREATE TABLE whatsmeow_app_state_sync_keys (
  jid         text REFERENCES whatsmeow_device (jid) ON DELETE CASCADE ON UPDATE CASCADE,
  key_id      bytea,
  key_data    bytea NOT NULL,
  "timestamp" bigint NOT NULL,
  fingerprint bytea NOT NULL,
  PRIMARY KEY (jid, key_id)
);

CREATE TABLE whatsmeow_app_state_version (
  jid     text REFERENCES whatsmeow_device (jid) ON DELETE CASCADE ON UPDATE CASCADE,
  name    text,
  version bigint NOT NULL,
  hash    bytea NOT NULL CHECK (length(hash) = 128),
  PRIMARY KEY (jid, name)
);

CREATE TABLE whatsmeow_app_state_mutation_macs (
  jid       text,
  name      text,
  version   bigint,
  index_mac bytea CHECK (length(index_mac) = 32),
  value_mac bytea NOT NULL CHECK (length(value_mac) = 32),
  PRIMARY KEY (jid, name, version, index_mac),
  FOREIGN KEY (jid, name) REFERENCES whatsmeow_app_state_version (jid, name) ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE TABLE whatsmeow_contacts (
  our_jid        text REFERENCES whatsmeow_device (jid) ON DELETE CASCADE ON UPDATE CASCADE,
  their_jid      text,
  first_name     text,
  full_name      text,
  push_name      text,
  business_name  text,
  redacted_phone text,
  PRIMARY KEY (our_jid, their_jid)
);

CREATE TABLE whatsmeow_chat_settings (
  our_jid     text REFERENCES whatsmeow_device (jid) ON DELETE CASCADE ON UPDATE CASCADE,
  chat_jid    text,
  muted_until bigint NOT NULL DEFAULT 0,
  pinned      boolean NOT NULL DEFAULT false,
  archived    boolean NOT NULL DEFAULT false,
  PRIMARY KEY (our_jid, chat_jid)
);

CREATE TABLE whatsmeow_message_secrets (
  our_jid    text REFERENCES whatsmeow_device (jid) ON DELETE CASCADE ON UPDATE CASCADE,
  chat_jid   text,
  sender_jid text,
  message_id text,
  key        bytea NOT NULL,
  PRIMARY KEY (our_jid, chat_jid, sender_jid, message_id)
);

CREATE TABLE whatsmeow_privacy_tokens (
  our_jid          text,
  their_jid        text,
  token            bytea NOT NULL,
  "timestamp"      bigint NOT NULL,
  sender_timestamp bigint,
  PRIMARY KEY (our_jid, their_jid)
);
CREATE INDEX idx_whatsmeow_privacy_tokens_our_jid_timestamp ON whatsmeow_privacy_tokens (our_jid, "timestamp");

CREATE TABLE whatsmeow_nct_salt (
  our_jid text PRIMARY KEY REFERENCES whatsmeow_device (jid) ON DELETE CASCADE ON UPDATE CASCADE,
  salt    bytea NOT NULL
);

CREATE TABLE whatsmeow_lid_map (
  lid text PRIMARY KEY,
  pn  text UNIQUE NOT NULL
);

CREATE TABLE whatsmeow_event_buffer (
  our_jid          text REFERENCES whatsmeow_device (jid) ON DELETE CASCADE ON UPDATE CASCADE,
  ciphertext_hash  bytea CHECK (length(ciphertext_hash) = 32),
  plaintext        bytea,
  server_timestamp bigint NOT NULL,
  insert_timestamp bigint NOT NULL,
  PRIMARY KEY (our_jid, ciphertext_hash)
);

CREATE TABLE whatsmeow_retry_buffer (
  our_jid     text REFERENCES whatsmeow_device (jid) ON DELETE CASCADE ON UPDATE CASCADE,
  chat_jid    text,
  message_id  text,
  format      text NOT NULL,
  plaintext   bytea NOT NULL,
  "timestamp" bigint NOT NULL,
  PRIMARY KEY (our_jid, chat_jid, message_id)
);
CREATE INDEX whatsmeow_retry_buffer_timestamp_idx ON whatsmeow_retry_buffer (our_jid, "timestamp");
