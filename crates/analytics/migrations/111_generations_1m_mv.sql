CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.generations_1m_mv{on_cluster} TO {database}.generations_1m{local} AS
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, gateway, replica, generation,
 sum(toUInt64(e.sample_interval)) AS n,
 min(e.ts) AS first,
 max(e.ts) AS last
FROM {database}.access_events{local} AS e
WHERE e.sample_interval > 0
GROUP BY t, organization, environment, site, gateway, replica, generation
