CREATE TABLE IF NOT EXISTS {database}.attempts_1m{on_cluster} AS {database}.attempts_1m_local
ENGINE = Distributed({cluster}, {database}, 'attempts_1m_local', cityHash64(organization, service, address))
