CREATE TABLE IF NOT EXISTS {database}.rollup_fills{on_cluster} (
  step UInt32 COMMENT 'the last step that changed a roll-up when every day was held against raw',
  filled DateTime('UTC')
)
ENGINE = MergeTree
ORDER BY step
