CREATE TABLE IF NOT EXISTS {database}.streams{on_cluster} AS {database}.streams_local
ENGINE = Distributed({cluster}, {database}, 'streams_local', stream)
