CREATE TABLE IF NOT EXISTS {database}.streams{local}{on_cluster} (
  stream UInt64,
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  replica LowCardinality(String),
  boot FixedString(16),
  worker UInt16,
  accepted SimpleAggregateFunction(max, UInt64),
  closed SimpleAggregateFunction(max, UInt8),
  reported SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
)
ENGINE = {engine:AggregatingMergeTree}
ORDER BY (organization, environment, site, gateway, replica, boot, worker, stream)
TTL toDateTime(reported) + INTERVAL {seqs} SECOND
