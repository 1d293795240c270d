ALTER TABLE {database}.access_events{on_cluster}
  ADD COLUMN IF NOT EXISTS entry UInt8
