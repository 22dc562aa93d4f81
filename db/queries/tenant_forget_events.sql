-- The numbers go on, so that no cursor of the old tenant means anything to the next one of that id.
WITH events AS (DELETE FROM events WHERE tenant_id = %(tenant)s),
     arrivals AS (DELETE FROM arrivals WHERE tenant_id = %(tenant)s),
     readers AS (DELETE FROM event_readers WHERE tenant_id = %(tenant)s),
     cursors AS (DELETE FROM callback_cursors WHERE tenant_id = %(tenant)s)
DELETE FROM callback_deliveries WHERE tenant_id = %(tenant)s
