ALTER TABLE {database}.access_events{local}{on_cluster}
  ADD COLUMN IF NOT EXISTS entry UInt8 DEFAULT 1 CODEC(ZSTD(1))
