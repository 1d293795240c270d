CREATE TABLE IF NOT EXISTS {database}.gateway_gauges{on_cluster} AS {database}.gateway_gauges_local
ENGINE = Distributed({cluster}, {database}, 'gateway_gauges_local', cityHash64(organization, environment, site, gateway))
