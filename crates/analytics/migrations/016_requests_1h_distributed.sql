CREATE TABLE IF NOT EXISTS {database}.requests_1h{on_cluster} AS {database}.requests_1h_local
ENGINE = Distributed({cluster}, {database}, 'requests_1h_local', cityHash64(organization, api, route))
