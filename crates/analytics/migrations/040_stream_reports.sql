CREATE TABLE IF NOT EXISTS {database}.stream_reports{local}{on_cluster} (
  stream UInt64,
  organization LowCardinality(String),
  environment LowCardinality(String),
  site LowCardinality(String),
  gateway LowCardinality(String),
  replica LowCardinality(String),
  boot FixedString(16),
  worker UInt16,
  accepted SimpleAggregateFunction(max, UInt64),
  counted SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
  received SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
  newest SimpleAggregateFunction(max, String) COMMENT 'time of receipt in ms, 16 digits, then the report as JSON: the greatest is the newest' CODEC(ZSTD(1))
)
ENGINE = {engine:AggregatingMergeTree}
ORDER BY (organization, environment, site, gateway, replica, boot, worker, stream)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
