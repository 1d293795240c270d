CREATE TABLE IF NOT EXISTS {database}.stream_accounts{on_cluster} AS {database}.stream_accounts_local
ENGINE = Distributed({cluster}, {database}, 'stream_accounts_local', stream)
