CREATE TABLE IF NOT EXISTS {database}.access_events{on_cluster} AS {database}.access_events_local
ENGINE = Distributed({cluster}, {database}, 'access_events_local', cityHash64(organization, trace_id))
