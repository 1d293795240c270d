CREATE TABLE IF NOT EXISTS {database}.stream_accounts{local}{on_cluster} (
  stream UInt64,
  stored Array(Tuple(UInt64, UInt64)) CODEC(ZSTD(1)),
  gaps Array(Tuple(UInt64, UInt64, String)) CODEC(ZSTD(1)),
  dead Array(Tuple(UInt64, UInt64, String)) CODEC(ZSTD(1)),
  compacted DateTime64(3, 'UTC')
)
ENGINE = {engine:ReplacingMergeTree(compacted)}
ORDER BY stream
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
