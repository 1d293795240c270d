CREATE TABLE IF NOT EXISTS {database}.acknowledgements{local}{on_cluster} (
  stream UInt64,
  kind LowCardinality(String) COMMENT 'missing: first to last; unknown: all from first on',
  first UInt64,
  last UInt64,
  what LowCardinality(String),
  reason String,
  who String,
  at DateTime64(3, 'UTC')
)
ENGINE = {engine:MergeTree}
ORDER BY (stream, first, at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
