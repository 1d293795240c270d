CREATE TABLE IF NOT EXISTS {database}.consumers_1m{on_cluster} AS {database}.consumers_1m_local
ENGINE = Distributed({cluster}, {database}, 'consumers_1m_local', cityHash64(organization, api, consumer))
