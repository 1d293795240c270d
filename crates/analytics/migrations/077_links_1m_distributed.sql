CREATE TABLE IF NOT EXISTS {database}.links_1m{on_cluster} AS {database}.links_1m_local
ENGINE = Distributed({cluster}, {database}, 'links_1m_local', cityHash64(organization, api, service))
