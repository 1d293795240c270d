// Every gateway of every site, and from there the request that failed.
import * as p from "./parts.mjs";

const SCOPE = p.scope("organization", "environment", "site", "gateway", "api");
const WHERE = `WHERE ${p.MINUTES}\n  AND ${SCOPE}`;

/** A row for each of `keys`, which are columns of requests_1m. */
const summary = (keys, order, more = "") => `
SELECT ${keys}, requests, users, errors, q[1] AS p50, q[2] AS p95, q[3] AS p99, overhead, slowest
FROM (
  SELECT ${keys}, sum(n) AS requests, sumIf(n, entry = 1) AS users, sumIf(n, ${p.FAILED}) / sum(n) AS errors,
    sum(gateway_us) / sum(n) AS overhead, sumMap(hist) AS h, ${p.quantiles(0.5, 0.95, 0.99)} AS q,
    lower(hex(argMaxMerge(slow_trace))) AS slowest
  FROM requests_1m
  ${WHERE}${more}
  GROUP BY ${keys}
)
ORDER BY ${order} LIMIT 100`;

const TIMES = ["p50", "p95", "p99", "overhead"].map((name) => p.column(name, { unit: p.MICROSECONDS, decimals: 1 }));
const COUNTS = ["requests", "users"].map((name) => p.column(name, { unit: p.COUNT, decimals: 0 }));
const SLOWEST = p.column("slowest", { displayName: "slowest request", links: [p.to("weir-chain", "its way", ["trace", p.field("slowest")])] });

export default p.dashboard("fleet", "Fleet", "Every gateway of every site. A request through two gateways is one user request and two gateway requests; each figure says which it counts.", ["organization", "environment", "site", "gateway", "api"], [
  p.stat([4, 4], "User requests", "Requests that entered the fleet in the time shown (the event's `entry` is 1). One through two gateways counts once.", p.COUNT,
    `SELECT sum(n) AS requests FROM requests_1m ${WHERE} AND entry = 1 HAVING sum(n) > 0`, { defaults: { decimals: 0 } }),
  p.stat([4, 4], "Gateway requests", "Requests that gateways handled in the time shown. One through two gateways counts twice.", p.COUNT,
    `SELECT sum(n) AS requests FROM requests_1m ${WHERE} HAVING sum(n) > 0`, { defaults: { decimals: 0 } }),
  p.stat([4, 4], "Errors, of user requests", "The part of user requests that failed by the fault of a gateway or an upstream: status 500 and above, or a response that was broken off, whatever its status.", p.SHARE,
    `SELECT sumIf(n, ${p.FAILED}) / sum(n) AS errors FROM requests_1m ${WHERE} AND entry = 1 HAVING sum(n) > 0`,
    { steps: [[0.001, "orange"], [0.01, "red"]], defaults: { decimals: 2 }, links: [p.to("weir-events", "failed requests", ["result", "failed"])] }),
  p.stat([4, 4], "p99, of user requests", "The 99th percentile of the total time, of the merged histogram of all user requests shown.", p.MICROSECONDS,
    `SELECT q[1] AS p99 FROM (SELECT sumMap(hist) AS h, ${p.quantiles(0.99)} AS q, sum(n) AS requests FROM requests_1m ${WHERE} AND entry = 1) WHERE requests > 0`),
  p.stat([4, 4], "Gateway overhead, mean", "Time in which a gateway request waited for nobody: the gateway's own work. The mean is the sum of the times divided by the requests.", p.MICROSECONDS,
    `SELECT sum(gateway_us) / sum(n) AS overhead FROM requests_1m ${WHERE} HAVING sum(n) > 0`, { defaults: { decimals: 0 } }),
  p.stat([4, 4], "Ingest lag, p99", "From the start of a request to the moment at which weir-analytics had its event: the 99th percentile of the last 15 minutes of the time shown.", p.SECONDS_UNIT,
    `SELECT quantile(0.99)(dateDiff('millisecond', ts, ts_received)) / 1000 AS lag FROM access_events
WHERE $__timeFilter(ts) AND ts > $__toTime - 900 AND sample_interval > 0
  AND ${SCOPE} HAVING count() > 0`, { steps: [[15, "orange"], [60, "red"]] }),
  p.lines([12, 8], "Gateway requests by site", "Requests a second that the gateways of each site handled.", p.PER_SECOND,
    `SELECT ${p.TIME} AS time, site, sum(n) / ${p.SECONDS} AS requests FROM requests_1m ${WHERE}
GROUP BY time, site ORDER BY time, site`),
  p.lines([12, 8], "Errors by site, of gateway requests", "The part of the requests of each site that failed by the fault of a gateway or an upstream.", p.SHARE,
    `SELECT ${p.TIME} AS time, site, sumIf(n, ${p.FAILED}) / sum(n) AS errors FROM requests_1m ${WHERE}
GROUP BY time, site ORDER BY time, site`),
  p.table([24, 6], "Sites", "One row a site: gateway requests, user requests that entered there, errors, percentiles of the merged histograms, the gateway's own time.",
    summary("site", "site"),
    { overrides: [p.column("site", { links: [p.to("weir-fleet", "only this site", ["site", p.field("site")])] }), ...COUNTS, p.errors("errors"), ...TIMES, SLOWEST] }),
  p.table([12, 7], "Status by site, gateway requests", "What the gateways of each site answered. `broken off` counts responses that were not brought to their end although their status was below 500.",
    `SELECT site, sumIf(n, status < 300 AND NOT ${p.FAILED}) AS "2xx", sumIf(n, status >= 300 AND status < 400 AND NOT ${p.FAILED}) AS "3xx",
  sumIf(n, status >= 400 AND status < 500 AND NOT ${p.FAILED}) AS "4xx", sumIf(n, status >= 500) AS "5xx",
  sumIf(n, status < 500 AND ${p.FAILED}) AS "broken off"
FROM requests_1m ${WHERE}
GROUP BY site ORDER BY site LIMIT 100`,
    {
      overrides: [
        ...["2xx", "3xx", "4xx"].map((name) => p.column(name, { unit: p.COUNT })),
        ...["5xx", "broken off"].map((name) => p.column(name, { unit: p.COUNT, thresholds: p.thresholds([1, "red"]), "custom.cellOptions": { type: "color-text" } })),
        p.column("site", { links: [p.to("weir-events", "its failed requests", ["site", p.field("site")], ["result", "failed"])] }),
      ],
    }),
  p.table([12, 7], "APIs, worst first", "One row an API, user requests only, the largest part of errors first.",
    summary("api", "errors DESC, p99 DESC", " AND entry = 1 AND api != ''"),
    { overrides: [p.column("api", { links: [p.to("weir-api", "this API", ["api", p.field("api")])] }), ...COUNTS, p.errors("errors"), ...TIMES, SLOWEST] }),
  p.table([24, 9], "Failed user requests, the last ones", "One row a failed request with the gateways that it passed, in order. `reason` and `fault of` are those of the gateway nearest to the fault; `own answer` is a status that the upstream itself sent.",
    `SELECT min(ts) AS time, arrayStringConcat(arrayMap(x -> x.2, arraySort(groupArray((ts, concat(site, '/', gateway))))), ' → ') AS way,
  argMin(api, ts) AS api, argMin(method, ts) AS method, argMin(path, ts) AS path, toUInt16(argMin(status, ts)) AS status,
  if(argMax(reason, ts) = '', 'own answer', argMax(reason, ts)) AS why, if(argMax(side, ts) = '', 'upstream', argMax(side, ts)) AS fault, argMin(total_us, ts) AS took, ${p.TRACE} AS trace
FROM (SELECT * FROM access_events
  WHERE $__timeFilter(ts) AND sample_interval > 0 AND ${p.FAILED}
  AND ts >= ${p.newest(2000, `${p.FAILED}\n  AND ${SCOPE}`)}
  AND ${SCOPE}
  ORDER BY ts DESC LIMIT 2000)
GROUP BY trace_id ORDER BY time DESC LIMIT 50`,
    {
      overrides: [
        p.column("time", { unit: p.TIME_UNIT }),
        p.column("took", { unit: p.MICROSECONDS, decimals: 1 }),
        p.column("why", { displayName: "reason" }),
        p.column("fault", { displayName: "fault of" }),
        p.column("trace", { links: [p.to("weir-chain", "its way", ["trace", p.field("trace")]), p.to("weir-events", "its events", ["trace", p.field("trace")])] }),
      ],
    }),
  p.heat([12, 8], "Total time of user requests", "How many user requests took how long, by step: the merged histograms, four buckets to a doubling.", p.MICROSECONDS,
    `SELECT time, toString(round(exp2((intDiv(k, 2) + 1) / 4) - 1)) AS bucket, sum(c) AS requests
FROM (SELECT ${p.TIME} AS time, sumMap(hist) AS h FROM requests_1m ${WHERE} AND entry = 1 GROUP BY time)
ARRAY JOIN mapKeys(h) AS k, mapValues(h) AS c
GROUP BY time, intDiv(k, 2) ORDER BY time, intDiv(k, 2)`),
  p.table([12, 8], "Gateways", "One row a gateway that reported within the last day: when it was last heard, the requests that its processes have accepted, those before a restart too, and the generation of its configuration by its newest event in the time shown.",
    `SELECT site, gateway, replica, last_seen, silent, accepted, generation FROM (
  SELECT site, gateway, replica, max(received) AS last_seen, dateDiff('second', max(received), now64(3)) AS silent,
    sum(accepted_) AS accepted
  FROM (SELECT site, gateway, replica, boot, worker, stream, max(received) AS received, max(accepted) AS accepted_ FROM stream_reports
    WHERE ${p.scope("organization", "environment", "site", "gateway")}
    GROUP BY site, gateway, replica, boot, worker, stream)
  WHERE received > now64(3) - INTERVAL 1 DAY
  GROUP BY site, gateway, replica
) AS r LEFT JOIN (
  SELECT site, gateway, replica, argMax(generation, last) AS generation FROM generations_1m
  WHERE ${p.MINUTES} AND ${p.scope("organization", "environment", "site", "gateway")}
  GROUP BY site, gateway, replica
) AS e USING (site, gateway, replica)
ORDER BY site, gateway, replica LIMIT 200`,
    {
      overrides: [
        p.column("last_seen", { displayName: "last seen", unit: p.TIME_UNIT }),
        p.column("silent", { displayName: "silent for", unit: p.SECONDS_UNIT, thresholds: p.thresholds([30, "red"]), "custom.cellOptions": { type: "color-text" } }),
        p.column("accepted", { unit: p.COUNT, decimals: 0 }),
        p.column("gateway", { links: [p.to("weir-fleet", "only this gateway", ["site", p.field("site")], ["gateway", p.field("gateway")])] }),
      ],
    }),
]);
