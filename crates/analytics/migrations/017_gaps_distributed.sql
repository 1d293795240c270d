CREATE TABLE IF NOT EXISTS {database}.gaps{on_cluster} AS {database}.gaps_local
ENGINE = Distributed({cluster}, {database}, 'gaps_local', stream)
