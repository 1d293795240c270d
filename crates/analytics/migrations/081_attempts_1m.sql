CREATE TABLE IF NOT EXISTS {database}.attempts_1m{local}{on_cluster} (
  t DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  service LowCardinality(String),
  address LowCardinality(String),
  failure LowCardinality(String),
  n SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  attempt_us SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  max_attempt_us SimpleAggregateFunction(max, UInt32) CODEC(T64, ZSTD(1)),
  hist SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1))
)
ENGINE = {engine:AggregatingMergeTree}
PARTITION BY toDate(t)
ORDER BY (organization, environment, service, address, failure, site, gateway, t)
TTL t + INTERVAL {minutes} SECOND
SETTINGS ttl_only_drop_parts = 1, {window}
