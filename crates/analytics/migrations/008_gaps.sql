CREATE TABLE IF NOT EXISTS {database}.gaps{local}{on_cluster} (
  stream UInt64,
  first UInt64,
  last UInt64,
  reason LowCardinality(String),
  received DateTime64(3, 'UTC')
)
ENGINE = {engine:ReplacingMergeTree}
PARTITION BY toYYYYMM(received)
ORDER BY (stream, first, last, reason)
TTL toDateTime(received) + INTERVAL {seqs} SECOND
