CREATE TABLE IF NOT EXISTS {database}.dead_letters{local}{on_cluster} (
  stream UInt64,
  seq UInt64,
  reason LowCardinality(String),
  ts DateTime64(6, 'UTC'),
  received DateTime64(3, 'UTC'),
  event String CODEC(ZSTD(1))
)
ENGINE = {engine:ReplacingMergeTree}
PARTITION BY toYYYYMM(received)
ORDER BY (stream, seq)
TTL toDateTime(received) + INTERVAL {seqs} SECOND
