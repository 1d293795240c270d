CREATE TABLE IF NOT EXISTS {database}.barrier{local}{on_cluster} (x UInt8)
ENGINE = Memory
