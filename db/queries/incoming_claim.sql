SELECT seq, tenant_id, id, chat, sender, phone, lid, push_name, kind, content, at, backlog, reply_to, mentions
  FROM claim_incoming_v1(%s, %s::bigint[], %s)
