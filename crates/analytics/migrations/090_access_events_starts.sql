ALTER TABLE {database}.access_events{local}{on_cluster}
  ADD COLUMN IF NOT EXISTS policy_start_us Array(UInt32) CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS policy_waited_us Array(UInt32) CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS attempt_start_us Array(UInt32) CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS waited_us UInt32 CODEC(T64, ZSTD(1))
