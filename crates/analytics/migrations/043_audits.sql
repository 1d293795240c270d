CREATE TABLE IF NOT EXISTS {database}.audits{local}{on_cluster} (
  day Date,
  stream UInt64,
  stored Array(Tuple(UInt64, UInt64)) COMMENT 'every number that was ever stored on the day' CODEC(ZSTD(1)),
  gone Array(Tuple(UInt64, UInt64)) COMMENT 'those of them whose rows are not there' CODEC(ZSTD(1)),
  doubled UInt64,
  audited DateTime64(3, 'UTC'),
  keep_until Date
)
ENGINE = {engine:ReplacingMergeTree(audited)}
PARTITION BY toYYYYMM(day)
ORDER BY (day, stream)
TTL keep_until
