SELECT to_regclass('whatsmeow_version') IS NOT NULL
