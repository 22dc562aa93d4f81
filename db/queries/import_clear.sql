-- All other rows of the device go with it, but for these.
WITH tokens AS (DELETE FROM whatsmeow_privacy_tokens WHERE our_jid = %(jid)s)
DELETE FROM whatsmeow_device WHERE jid = %(jid)s
