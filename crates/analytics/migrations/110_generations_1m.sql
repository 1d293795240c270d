CREATE TABLE IF NOT EXISTS {database}.generations_1m{local}{on_cluster} (
  t DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  replica LowCardinality(String),
  generation UInt32,
  n SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  first SimpleAggregateFunction(min, DateTime64(6, 'UTC')) COMMENT 'the first request of the minute that was served by this generation' CODEC(Delta(8), ZSTD(1)),
  last SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'the last one' CODEC(Delta(8), ZSTD(1))
)
ENGINE = {engine:AggregatingMergeTree}
PARTITION BY toDate(t)
ORDER BY (organization, environment, site, gateway, replica, generation, t)
TTL t + INTERVAL {minutes} SECOND
SETTINGS ttl_only_drop_parts = 1, {window}
