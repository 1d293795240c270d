CREATE TABLE IF NOT EXISTS {database}.dead_chunks{local}{on_cluster} (
  stream UInt64,
  first UInt64,
  last UInt64,
  received DateTime64(3, 'UTC'),
  chunk String CODEC(NONE)
)
ENGINE = {engine:ReplacingMergeTree}
PARTITION BY toYYYYMM(received)
ORDER BY (stream, first, last)
TTL toDateTime(received) + INTERVAL {seqs} SECOND
