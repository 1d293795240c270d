CREATE TABLE IF NOT EXISTS {database}.consumers_1m{local}{on_cluster} (
  t DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  api LowCardinality(String),
  consumer LowCardinality(String),
  entry UInt8,
  n SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  failed SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  refused SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  limited SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  total_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  bytes_in SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  bytes_out SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  max_total_us SimpleAggregateFunction(max, UInt64) CODEC(T64, ZSTD(1))
)
ENGINE = {engine:AggregatingMergeTree}
PARTITION BY toDate(t)
ORDER BY (organization, environment, api, consumer, site, entry, t)
TTL t + INTERVAL {minutes} SECOND
SETTINGS ttl_only_drop_parts = 1, {window}
