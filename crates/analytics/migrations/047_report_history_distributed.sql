CREATE TABLE IF NOT EXISTS {database}.report_history{on_cluster} AS {database}.report_history_local
ENGINE = Distributed({cluster}, {database}, 'report_history_local', stream)
