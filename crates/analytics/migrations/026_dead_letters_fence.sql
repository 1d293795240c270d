ALTER TABLE {database}.dead_letters{local}{on_cluster}
  ADD CONSTRAINT IF NOT EXISTS fence CHECK throwIf(joinGet({joined:retired_leases}, 'retired', lease) != 0, 'weir: the lease of this insert has ended; another weir-analytics writes') = 0
