CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.attempts_1m_mv{on_cluster} TO {database}.attempts_1m{local} AS
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, gateway, service, address, failure,
 sum(toUInt64(e.sample_interval)) AS n,
 sum(toUInt64(us) * e.sample_interval) AS attempt_us,
 max(us) AS max_attempt_us,
 sumMap(map(toUInt16(floor(log2(us + 1) * 8)), toUInt64(e.sample_interval))) AS hist
FROM {database}.access_events{local} AS e
ARRAY JOIN e.attempt_upstreams AS address, e.attempt_outcomes AS failure, e.attempt_us AS us
GROUP BY t, organization, environment, site, gateway, service, address, failure
