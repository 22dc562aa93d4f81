-- As the tenant's own connections of neonize say it: triggers know by it whose rows these are.
SELECT set_config('wa.tenant', %s, true)
