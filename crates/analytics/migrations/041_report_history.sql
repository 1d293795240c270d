CREATE TABLE IF NOT EXISTS {database}.report_history{local}{on_cluster} (
  stream UInt64,
  counted DateTime64(3, 'UTC'),
  accepted UInt64
)
ENGINE = {engine:MergeTree}
PARTITION BY toDate(counted)
ORDER BY (stream, accepted)
TTL toDateTime(counted) + INTERVAL 172800 SECOND
SETTINGS ttl_only_drop_parts = 1
