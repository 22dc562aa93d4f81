-- Who asked a tenant for no more messages, with the proof of it. One row per address of a person: whoever is known by number and
-- by LID has two rows, which tell of each other. A person is out while `back_at` is null; the row stays when they come back.
CREATE TABLE opt_outs (
  tenant_id       varchar(100) NOT NULL,
  recipient       varchar(50) NOT NULL,      -- a recipient key (core.jid), never a group's
  phone           text,
  lid             text,
  since           timestamptz NOT NULL,      -- when it was written, as WhatsApp says
  message_id      text NOT NULL,             -- the proof: which message, what it said, where
  content         text NOT NULL,
  chat            varchar(50) NOT NULL,
  recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  back_at         timestamptz,
  back_message_id text,
  back_content    text,
  PRIMARY KEY (tenant_id, recipient)
);

-- All addresses of the person who has one of these.
CREATE FUNCTION addresses_of(who text, known text[]) RETURNS text[] LANGUAGE sql STABLE AS $$
  SELECT array_agg(DISTINCT a) FROM (
    SELECT unnest(known) UNION ALL
    SELECT unnest(ARRAY[o.phone, o.lid]) FROM opt_outs o WHERE o.tenant_id = who AND o.recipient = ANY (known)) x(a)
   WHERE a IS NOT NULL
$$;

-- The person is out by this message. True when it is this message that brought it about, however often it is shown; false when
-- the person was out before, or wrote later that they are back.
CREATE FUNCTION opt_out_v1(who text, known text[], message text, said text, place text, written timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  person text[] := addresses_of(who, known);
  number text := (SELECT max(a) FROM unnest(person) a WHERE a NOT LIKE '%@%');
  hidden text := (SELECT max(a) FROM unnest(person) a WHERE a LIKE '%@lid');
BEGIN
  DELETE FROM opt_outs o
   WHERE o.tenant_id = who AND o.recipient = ANY (person) AND o.back_at <= written AND o.message_id <> message;
  INSERT INTO opt_outs AS o (tenant_id, recipient, phone, lid, since, message_id, content, chat)
    SELECT who, a, number, hidden, written, message, said, place FROM unnest(person) a ORDER BY a
    ON CONFLICT (tenant_id, recipient) DO UPDATE SET phone = excluded.phone, lid = excluded.lid;
  RETURN (SELECT bool_and(o.message_id = message AND o.back_at IS NULL) FROM opt_outs o
           WHERE o.tenant_id = who AND o.recipient = ANY (person));
END $$;

-- The person is back by this message; true as above.
CREATE FUNCTION opt_in_v1(who text, known text[], message text, said text, written timestamptz) RETURNS boolean LANGUAGE sql AS $$
  WITH back AS (
    UPDATE opt_outs o SET back_at = written, back_message_id = message, back_content = said
     WHERE o.tenant_id = who AND o.recipient = ANY (addresses_of(who, known))
       AND ((o.back_at IS NULL AND o.since <= written) OR o.back_message_id = message)
    RETURNING 1)
  SELECT EXISTS (SELECT FROM back)
$$;

-- In which of the lists asked for each recipient stands (admit_v1).
CREATE OR REPLACE FUNCTION lists_of(subjects jsonb) RETURNS integer[] LANGUAGE sql STABLE AS $$
  SELECT coalesce(array_agg(
           CASE WHEN mask & 1 <> 0 AND EXISTS (SELECT FROM whitelist w WHERE w.tenant_id = x.tenant AND w.phone_number = x.recipient)
                THEN 1 ELSE 0 END
         | CASE WHEN mask & 2 <> 0 AND EXISTS (SELECT FROM incoming_messages i WHERE i.tenant_id = x.tenant AND i.chat = x.recipient
                                                AND i.at > now() - interval '24 hours')
                THEN 2 ELSE 0 END
         | CASE WHEN mask & 4 <> 0 AND EXISTS (SELECT FROM opt_outs o WHERE o.tenant_id = x.tenant AND o.recipient = x.recipient
                                                AND o.back_at IS NULL)
                THEN 4 ELSE 0 END ORDER BY n), '{}')
    FROM (SELECT s ->> 0 AS tenant, s ->> 1 AS recipient, (s ->> 2)::integer AS mask, n
            FROM jsonb_array_elements(subjects) WITH ORDINALITY e(s, n)) x
$$;
