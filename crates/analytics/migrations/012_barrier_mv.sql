CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.barrier_mv{on_cluster} TO {database}.barrier{local} AS
SELECT toUInt8(0) AS x FROM {database}.access_events{local} WHERE 0
