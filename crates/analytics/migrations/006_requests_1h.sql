CREATE TABLE IF NOT EXISTS {database}.requests_1h{local}{on_cluster} (
  t DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  api LowCardinality(String),
  route LowCardinality(String),
  status UInt16,
  reason LowCardinality(String),
  side LowCardinality(String),
  n SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  total_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  gateway_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  upstream_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  client_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  link_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  bytes_in SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  bytes_out SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  max_total_us SimpleAggregateFunction(max, UInt64) CODEC(T64, ZSTD(1)),
  hist SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1)),
  slow_trace AggregateFunction(argMax, FixedString(16), UInt64) CODEC(ZSTD(1))
)
ENGINE = {engine:AggregatingMergeTree}
PARTITION BY toDate(t)
ORDER BY (organization, environment, api, route, site, gateway, status, reason, side, t)
TTL t + INTERVAL {hours} SECOND
SETTINGS ttl_only_drop_parts = 1, {window}
