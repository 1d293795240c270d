CREATE TABLE IF NOT EXISTS {database}.lease_renewals{on_cluster} (
  lease UUID,
  renewed SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
  released SimpleAggregateFunction(max, UInt8)
)
ENGINE = {engine:AggregatingMergeTree}
ORDER BY lease
TTL toDateTime(renewed) + INTERVAL 30 DAY
