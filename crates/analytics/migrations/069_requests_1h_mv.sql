ALTER TABLE {database}.requests_1h_mv{on_cluster} MODIFY QUERY
SELECT toStartOfHour(m.t) AS t, organization, environment, site, gateway, api, route, status, reason, side, entry,
 sum(m.n) AS n,
 sum(m.total_us) AS total_us,
 sum(m.gateway_us) AS gateway_us,
 sum(m.upstream_us) AS upstream_us,
 sum(m.client_us) AS client_us,
 sum(m.link_us) AS link_us,
 sum(m.bytes_in) AS bytes_in,
 sum(m.bytes_out) AS bytes_out,
 max(m.max_total_us) AS max_total_us,
 sumMap(m.hist) AS hist,
 argMaxMergeState(m.slow_trace) AS slow_trace
FROM {database}.requests_1m{local} AS m
GROUP BY t, organization, environment, site, gateway, api, route, status, reason, side, entry
