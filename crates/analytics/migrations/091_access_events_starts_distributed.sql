ALTER TABLE {database}.access_events{on_cluster}
  ADD COLUMN IF NOT EXISTS policy_start_us Array(UInt32),
  ADD COLUMN IF NOT EXISTS policy_waited_us Array(UInt32),
  ADD COLUMN IF NOT EXISTS attempt_start_us Array(UInt32),
  ADD COLUMN IF NOT EXISTS waited_us UInt32
