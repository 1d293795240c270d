ALTER TABLE {database}.requests_1h{on_cluster}
  ADD COLUMN IF NOT EXISTS entry UInt8
