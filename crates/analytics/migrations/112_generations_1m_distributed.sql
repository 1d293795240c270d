CREATE TABLE IF NOT EXISTS {database}.generations_1m{on_cluster} AS {database}.generations_1m_local
ENGINE = Distributed({cluster}, {database}, 'generations_1m_local', cityHash64(organization, environment, site, gateway))
