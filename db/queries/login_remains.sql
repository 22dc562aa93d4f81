SELECT EXISTS (SELECT FROM pg_class c WHERE c.relkind = 'r' AND c.relname LIKE 'whatsmeow\_%' AND pg_table_is_visible(c.oid))
