ALTER TABLE {database}.access_events{local}{on_cluster}
  ADD COLUMN IF NOT EXISTS lease UUID CODEC(ZSTD(1))
