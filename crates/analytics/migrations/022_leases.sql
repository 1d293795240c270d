CREATE TABLE IF NOT EXISTS {database}.leases{on_cluster} (
  epoch UInt64,
  lease UUID,
  holder String,
  claimed DateTime64(3, 'UTC')
)
ENGINE = {engine:MergeTree}
ORDER BY epoch
SETTINGS {window}
