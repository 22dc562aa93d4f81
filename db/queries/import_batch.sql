SELECT nextval('gapura_backup_batch')
