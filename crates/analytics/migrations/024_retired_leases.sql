CREATE TABLE IF NOT EXISTS {database}.retired_leases{on_cluster} (lease UUID, retired UInt8)
ENGINE = Join(ANY, LEFT, lease)
