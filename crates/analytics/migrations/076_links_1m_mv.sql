CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.links_1m_mv{on_cluster} TO {database}.links_1m{local} AS
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, gateway, api, service,
 sum(toUInt64(e.sample_interval)) AS n,
 sumIf(toUInt64(e.sample_interval), e.side = 'upstream') AS failed,
 sumIf(toUInt64(e.sample_interval), e.link_us > 0) AS linked,
 sum(toUInt64(e.link_us) * e.sample_interval) AS link_us,
 sum(toUInt64(e.upstream_us) * e.sample_interval) AS upstream_us,
 sum(toUInt64(e.connect_us) * e.sample_interval) AS connect_us,
 sum(toUInt64(e.tls_us) * e.sample_interval) AS tls_us,
 sum(toUInt64(e.first_byte_us) * e.sample_interval) AS first_byte_us,
 sum(toUInt64(e.bytes_to_upstream) * e.sample_interval) AS bytes_to_upstream,
 sum(toUInt64(e.bytes_from_upstream) * e.sample_interval) AS bytes_from_upstream,
 max(e.link_us) AS max_link_us,
 sumMapIf(map(toUInt16(floor(log2(e.link_us + 1) * 8)), toUInt64(e.sample_interval)), e.link_us > 0) AS hist
FROM {database}.access_events{local} AS e
WHERE notEmpty(e.attempt_us)
GROUP BY t, organization, environment, site, gateway, api, service
