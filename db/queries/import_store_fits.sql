-- Newer versions say with which older ones they are compatible.
SELECT coalesce(bool_or(version >= %(version)s AND coalesce(compat, version) <= %(version)s), false) FROM whatsmeow_version
