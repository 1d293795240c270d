ALTER TABLE {database}.dead_letters{local}{on_cluster}
  ADD COLUMN IF NOT EXISTS lease UUID CODEC(ZSTD(1))
