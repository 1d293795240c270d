ALTER TABLE {database}.consumers_1m_mv{on_cluster} MODIFY QUERY
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, api, consumer, entry,
 sum(toUInt64(e.sample_interval)) AS n,
 sumIf(toUInt64(e.sample_interval), (status >= 500 OR side = 'upstream' OR side = 'gateway' AND reason != 'policy_answered')) AS failed,
 sumIf(toUInt64(e.sample_interval), (status >= 400 AND status < 500 AND NOT (status >= 500 OR side = 'upstream' OR side = 'gateway' AND reason != 'policy_answered'))) AS refused,
 sumIf(toUInt64(e.sample_interval), e.rate_limit IN ('exceeded', 'exceeded_shared')) AS limited,
 sum(toUInt64(e.total_us) * e.sample_interval) AS total_us,
 sum(toUInt64(e.bytes_in) * e.sample_interval) AS bytes_in,
 sum(toUInt64(e.bytes_out) * e.sample_interval) AS bytes_out,
 max(e.total_us) AS max_total_us
FROM {database}.access_events{local} AS e
WHERE e.sample_interval > 0
GROUP BY t, organization, environment, site, api, consumer, entry
