CREATE TABLE IF NOT EXISTS {database}.stored_seqs{on_cluster} AS {database}.stored_seqs_local
ENGINE = Distributed({cluster}, {database}, 'stored_seqs_local', stream)
