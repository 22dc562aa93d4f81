-- A phone could not decrypt messages that left under these ids of WhatsApp, and asks for them once more. The library answers from the
-- memory of the client that sent them; `served` are those that the present client has sent, which it sees to by itself. The others are
-- queued again, where they stood, and leave as new messages, which their history says: once each, not when somebody has read it, not
-- after its time, and not when WhatsApp has it for over a day. Nothing is counted again. Not in groups, where all the others have it.
--
-- What they left under before is forgotten: from now on a receipt concerns the new copy. One of another device of the same person, which
-- could read the first, would take the message out of the line.
CREATE FUNCTION asked_again_v1(who text, wa_ids text[], served uuid[]) RETURNS TABLE (id uuid, at timestamptz)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  present timestamptz := clock_timestamp();
  ids uuid[];
BEGIN
  SELECT array_agg(q.id) INTO ids FROM (
    SELECT m.id FROM messages m
     WHERE m.tenant_id = who AND m.wa_id = ANY (wa_ids) AND m.id <> ALL (served)
       AND m.status IN ('sent', 'delivered') AND m.recipient NOT LIKE '%@g.us'
       AND m.expires_at > present AND m.sent_at > present - interval '24 hours'
       AND NOT m.history @> '[{"cause": "asked_again"}]'
       AND EXISTS (SELECT FROM api_keys k WHERE k.tenant_id = m.tenant_id) ORDER BY m.id FOR UPDATE) q;
  IF ids IS NULL THEN RETURN; END IF;
  DELETE FROM attempts a WHERE a.message_id = ANY (ids);
  PERFORM count_in_line(ids, 1);
  RETURN QUERY
  UPDATE messages m
     SET status = 'queued', cause = 'asked_again', wa_id = NULL, process = NULL, fence = NULL, claimed_at = NULL, in_line = true,
         history = m.history || jsonb_build_object('status', 'queued', 'at', present, 'cause', 'asked_again')
   WHERE m.id = ANY (ids)
  RETURNING m.id, present;
END $$;
