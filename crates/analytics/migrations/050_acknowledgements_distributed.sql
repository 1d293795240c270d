CREATE TABLE IF NOT EXISTS {database}.acknowledgements{on_cluster} AS {database}.acknowledgements_local
ENGINE = Distributed({cluster}, {database}, 'acknowledgements_local', stream)
