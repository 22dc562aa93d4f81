-- This table is everybody's: what living sessions learnt stays, and no login that comes can change it for the other tenants.
INSERT INTO whatsmeow_lid_map (lid, pn) SELECT * FROM unnest(%(lid)s::text[], %(pn)s::text[]) ON CONFLICT DO NOTHING
