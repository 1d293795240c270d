CREATE TABLE IF NOT EXISTS {database}.stream_reports{on_cluster} AS {database}.stream_reports_local
ENGINE = Distributed({cluster}, {database}, 'stream_reports_local', stream)
