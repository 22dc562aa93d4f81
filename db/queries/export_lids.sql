-- The table is everybody's: only the people whom this device has written with, and itself.
SELECT m.lid, m.pn FROM whatsmeow_lid_map m
 WHERE EXISTS (SELECT FROM whatsmeow_sessions s WHERE s.our_jid = %(jid)s
                  AND split_part(split_part(s.their_id, ':', 1), '_', 1) IN (m.lid, m.pn))
    OR m.pn = split_part(%(jid)s, ':', 1)
    OR EXISTS (SELECT FROM whatsmeow_identity_keys i WHERE i.our_jid = %(jid)s
                  AND split_part(split_part(i.their_id, ':', 1), '_', 1) IN (m.lid, m.pn))
 ORDER BY m.lid COLLATE "C"
