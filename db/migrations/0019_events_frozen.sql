-- An event tells under which id a message was known at WhatsApp when it happened: an attempt made later has another, and what is posted
-- of an event must be the same at every try. null: it had none. Events from before this have no `wa_id` here, and tell the row's.

CREATE OR REPLACE FUNCTION messages_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM tell_v1(array_agg(ROW(m.tenant_id, 0, 'message.' || m.status, NULL, m.recipient, m.id, NULL,
                                CASE WHEN m.cause IS NOT NULL THEN jsonb_build_object('wa_id', m.wa_id, 'cause', m.cause)
                                     ELSE jsonb_build_object('wa_id', m.wa_id) END)::events ORDER BY m.seq), true)
     FROM changed m JOIN before b USING (id)
    WHERE m.status <> b.status AND m.status <> 'sending' AND (b.status, m.status) <> ('sending', 'queued');
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION overdue_v1() RETURNS TABLE (id uuid, tenant_id text) LANGUAGE plpgsql AS $$
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
  PERFORM tell_v1((SELECT array_agg(ROW(m.tenant_id, 0, 'message.overdue', NULL, m.recipient, m.id, NULL,
                                        jsonb_build_object('wa_id', m.wa_id))::events ORDER BY m.seq)
                     FROM unnest(late) m), true);
  RETURN QUERY SELECT m.id, m.tenant_id::text FROM unnest(late) m;
END $$;
