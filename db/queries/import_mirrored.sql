-- Whether triggers keep auth_creds and auth_keys in step with whatsmeow's tables.
SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('whatsmeow_device') AND tgname ILIKE 'mirror%' AND NOT tgisinternal
                  AND tgenabled IN ('O', 'A'))
