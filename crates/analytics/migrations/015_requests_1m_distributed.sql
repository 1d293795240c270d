CREATE TABLE IF NOT EXISTS {database}.requests_1m{on_cluster} AS {database}.requests_1m_local
ENGINE = Distributed({cluster}, {database}, 'requests_1m_local', cityHash64(organization, api, route))
