CREATE TABLE IF NOT EXISTS {database}.audits{on_cluster} AS {database}.audits_local
ENGINE = Distributed({cluster}, {database}, 'audits_local', stream)
