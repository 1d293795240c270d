ALTER TABLE {database}.requests_1m_mv{on_cluster} MODIFY QUERY
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, gateway, api, route, status, reason, side, entry,
 sum(toUInt64(e.sample_interval)) AS n,
 sum(toUInt64(e.total_us) * e.sample_interval) AS total_us,
 sum(toUInt64(e.gateway_us) * e.sample_interval) AS gateway_us,
 sum(toUInt64(e.upstream_us) * e.sample_interval) AS upstream_us,
 sum(toUInt64(e.client_us) * e.sample_interval) AS client_us,
 sum(toUInt64(e.link_us) * e.sample_interval) AS link_us,
 sum(toUInt64(e.bytes_in) * e.sample_interval) AS bytes_in,
 sum(toUInt64(e.bytes_out) * e.sample_interval) AS bytes_out,
 max(e.total_us) AS max_total_us,
 sumMapIf(map(toUInt16(floor(log2(least(e.total_us, 9223372036854775806) + 1) * 8)), toUInt64(e.sample_interval)), NOT mapContains(attrs, 'tunnel.duration_us')) AS hist,
 argMaxState(e.trace_id, e.total_us) AS slow_trace
FROM {database}.access_events{local} AS e
WHERE e.sample_interval > 0
GROUP BY t, organization, environment, site, gateway, api, route, status, reason, side, entry
