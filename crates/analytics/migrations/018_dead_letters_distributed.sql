CREATE TABLE IF NOT EXISTS {database}.dead_letters{on_cluster} AS {database}.dead_letters_local
ENGINE = Distributed({cluster}, {database}, 'dead_letters_local', stream)
