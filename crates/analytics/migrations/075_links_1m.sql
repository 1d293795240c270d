CREATE TABLE IF NOT EXISTS {database}.links_1m{local}{on_cluster} (
  t DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  api LowCardinality(String),
  service LowCardinality(String),
  n SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  failed SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  linked SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  link_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  upstream_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  connect_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  tls_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  first_byte_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  bytes_to_upstream SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  bytes_from_upstream SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  max_link_us SimpleAggregateFunction(max, UInt32) CODEC(T64, ZSTD(1)),
  hist SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1))
)
ENGINE = {engine:AggregatingMergeTree}
PARTITION BY toDate(t)
ORDER BY (organization, environment, api, service, site, gateway, t)
TTL t + INTERVAL {minutes} SECOND
SETTINGS ttl_only_drop_parts = 1, {window}
