ALTER TABLE {database}.requests_1m{on_cluster}
  ADD COLUMN IF NOT EXISTS entry UInt8
