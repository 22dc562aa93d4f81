SELECT kind FROM unnest(%(tables)s::text[]) kind
 WHERE to_regclass('whatsmeow_' || kind) IS NOT NULL
   AND 2 <> (SELECT count(*) FROM pg_trigger t WHERE t.tgrelid = to_regclass('whatsmeow_' || kind) AND t.tgenabled IN ('O', 'A')
              AND t.tgname IN ('Mirror_v1', 'Mirror_changes_v1'))
