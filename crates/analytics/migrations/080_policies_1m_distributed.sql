CREATE TABLE IF NOT EXISTS {database}.policies_1m{on_cluster} AS {database}.policies_1m_local
ENGINE = Distributed({cluster}, {database}, 'policies_1m_local', cityHash64(organization, api, policy))
