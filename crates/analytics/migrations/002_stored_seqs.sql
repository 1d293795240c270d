CREATE TABLE IF NOT EXISTS {database}.stored_seqs{local}{on_cluster} (
  day Date,
  stream UInt64 CODEC(ZSTD(1)),
  block UUID CODEC(ZSTD(1)),
  first UInt64 CODEC(Delta(8), ZSTD(1)),
  last UInt64 CODEC(Delta(8), ZSTD(1)),
  n UInt64 CODEC(T64, ZSTD(1))
)
ENGINE = {engine:MergeTree}
PARTITION BY day
ORDER BY (stream, first)
TTL day + INTERVAL {seqs} SECOND
SETTINGS ttl_only_drop_parts = 1, {window}
