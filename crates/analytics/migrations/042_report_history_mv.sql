CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.report_history_mv{on_cluster} TO {database}.report_history{local} AS
SELECT stream, counted, accepted FROM {database}.stream_reports{local}
