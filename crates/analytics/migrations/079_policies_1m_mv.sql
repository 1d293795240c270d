CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.policies_1m_mv{on_cluster} TO {database}.policies_1m{local} AS
SELECT toStartOfMinute(e.ts) AS t, organization, environment, site, gateway, api, policy, verdict,
 sum(toUInt64(e.sample_interval)) AS n,
 sum(toUInt64(us) * e.sample_interval) AS policy_us,
 max(us) AS max_policy_us,
 sumMap(map(toUInt16(floor(log2(us + 1) * 8)), toUInt64(e.sample_interval))) AS hist
FROM {database}.access_events{local} AS e
ARRAY JOIN e.policy_names AS policy, e.policy_verdicts AS verdict, e.policy_us AS us
GROUP BY t, organization, environment, site, gateway, api, policy, verdict
