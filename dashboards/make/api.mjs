// One API: rate, errors, duration, where the time goes, and whose fault it is.
import * as p from "./parts.mjs";

const KEYS = ["organization", "environment", "site", "gateway", "api"];
const SCOPE = p.scope(...KEYS, "route");
const WHERE = `WHERE ${p.MINUTES}\n  AND ${SCOPE}`;
const OF_CONSUMERS = p.scope("organization", "environment", "site", "api", "consumer");

const PERCENTILES = `SELECT time, q[1] AS p50, q[2] AS p95, q[3] AS p99 FROM (
  SELECT ${p.TIME} AS time, sumMap(hist) AS h, ${p.quantiles(0.5, 0.95, 0.99)} AS q FROM requests_1m ${WHERE} AND entry = 1 GROUP BY time)
ORDER BY time`;

// When each gateway of the time shown began to serve its newest generation, as arrays beside each other, and the hours of that.
const GATEWAY = "concat(site, char(0), gateway)";
const CHANGES = `SELECT (groupArray(${GATEWAY}), groupArray(changed), groupUniqArray(toStartOfHour(changed))) FROM (
    SELECT site, gateway, toStartOfMinute(argMax(first, generation)) AS changed FROM (
      SELECT site, gateway, generation, min(first) AS first FROM generations_1m WHERE t > $__fromTime - 60 AND t <= $__toTime
      AND ${p.scope("organization", "environment", "site", "gateway")}
      GROUP BY site, gateway, generation)
    GROUP BY site, gateway)`;
// Hours that are shown whole and in which nothing changed come from the roll-up by hours, the rest from that by minutes.
const [FIRST_HOUR, AFTER_HOURS] = ["toStartOfHour($__fromTime + 3599)", "toStartOfHour($__toTime + 60)"];
const COMPARED = `SELECT t, indexOf(changes.1, ${GATEWAY}) AS place, site, gateway, status, side, reason, n, hist`;
const BEFORE_AND_AFTER = `WITH (${CHANGES}) AS changes
SELECT site, gateway, period, requests, errors, q[1] AS p50, q[2] AS p99, begins FROM (
  SELECT site, gateway, if(t >= changes.2[place], 'since', 'before') AS period, sum(n) AS requests, sumIf(n, ${p.FAILED}) / sum(n) AS errors,
    sumMap(hist) AS h, ${p.quantiles(0.5, 0.99)} AS q, if(period = 'since', max(changes.2[place]), toStartOfMinute($__fromTime)) AS begins
  FROM (
    ${COMPARED} FROM requests_1h
    WHERE t >= ${FIRST_HOUR} AND t < ${AFTER_HOURS} AND NOT has(changes.3, t)
    AND ${SCOPE}
    UNION ALL
    ${COMPARED} FROM requests_1m
    ${WHERE}
    AND (t < ${FIRST_HOUR} OR t >= ${AFTER_HOURS} OR has(changes.3, toStartOfHour(t))))
  WHERE place > 0 GROUP BY site, gateway, period)
ORDER BY site, gateway, period LIMIT 100`;

export default p.dashboard("api", "API", "One API or several: rate, errors and duration by route, where the time goes, reasons, policies, upstreams and consumers.", p.VARIABLES, [
  p.lines([8, 8], "User requests by route", "Requests a second that entered the fleet, by route.", p.PER_SECOND,
    `SELECT ${p.TIME} AS time, if(route = '', 'no route', route) AS route_, sum(n) / ${p.SECONDS} AS requests FROM requests_1m ${WHERE} AND entry = 1
GROUP BY time, route ORDER BY time, route`),
  p.lines([8, 8], "Errors by route, of user requests", "The part of user requests that failed by the fault of a gateway or an upstream.", p.SHARE,
    `SELECT ${p.TIME} AS time, if(route = '', 'no route', route) AS route_, sumIf(n, ${p.FAILED}) / sum(n) AS errors FROM requests_1m ${WHERE} AND entry = 1
GROUP BY time, route ORDER BY time, route`, { links: [p.to("weir-events", "failed requests", ["result", "failed"])] }),
  p.lines([8, 8], "Duration of user requests", "Percentiles of the total time, of merged histograms.", p.MICROSECONDS, PERCENTILES),
  p.lines([12, 8], "Where the time of a gateway request goes", "The mean of each part, which add up to the total: the gateway's own work, the way to the next gateway and back (where it reported its time), the rest of waiting for the upstream, waiting for the client.", p.MICROSECONDS,
    `SELECT ${p.TIME} AS time, sum(gateway_us) / sum(n) AS in_gateway, sum(link_us) / sum(n) AS on_link,
  greatest(0, toInt64(sum(upstream_us)) - toInt64(sum(link_us))) / sum(n) AS in_upstream, sum(client_us) / sum(n) AS in_client
FROM requests_1m ${WHERE}
GROUP BY time ORDER BY time`, { stacking: true }),
  p.table([12, 8], "Reasons, gateway requests", "Why requests did not simply pass, and whose fault it was. A failure in a chain is counted at each gateway that saw it.",
    `SELECT reason, side, status, sum(n) AS requests, max(t) AS last FROM requests_1m ${WHERE} AND reason != ''
GROUP BY reason, side, status ORDER BY requests DESC LIMIT 50`,
    {
      overrides: [
        p.column("requests", { unit: p.COUNT, decimals: 0 }),
        p.column("last", { displayName: "last minute with one", unit: p.TIME_UNIT }),
        p.column("side", { displayName: "fault of" }),
        p.column("reason", { links: [p.to("weir-events", "these requests", ["reason", p.field("reason")])] }),
      ],
    }),
  p.table([24, 7], "Routes", "One row an API and route, user requests only.",
    `SELECT api, route, requests, errors, q[1] AS p50, q[2] AS p95, q[3] AS p99, slowest FROM (
  SELECT api, route, sum(n) AS requests, sumIf(n, ${p.FAILED}) / sum(n) AS errors, sumMap(hist) AS h, ${p.quantiles(0.5, 0.95, 0.99)} AS q,
    lower(hex(argMaxMerge(slow_trace))) AS slowest
  FROM requests_1m ${WHERE} AND entry = 1 GROUP BY api, route)
ORDER BY errors DESC, requests DESC LIMIT 100`,
    {
      overrides: [
        p.column("requests", { unit: p.COUNT, decimals: 0 }),
        p.errors("errors"),
        ...["p50", "p95", "p99"].map((name) => p.column(name, { unit: p.MICROSECONDS, decimals: 1 })),
        p.column("route", { links: [p.to("weir-api", "only this route", ["api", p.field("api")], ["route", p.field("route")])] }),
        p.column("slowest", { displayName: "slowest request", links: [p.to("weir-chain", "its way", ["trace", p.field("slowest")])] }),
      ],
    }),
  p.table([12, 7], "Policies", "Policies that ran, a row a verdict: how often, the mean and the longest time. A gateway request counts once for each policy that ran.",
    `SELECT policy, verdict, sum(n) AS runs, sum(policy_us) / sum(n) AS mean, max(max_policy_us) AS longest FROM policies_1m
WHERE ${p.MINUTES}
  AND ${p.scope(...KEYS)}
GROUP BY policy, verdict ORDER BY runs DESC LIMIT 50`,
    { overrides: [p.column("runs", { unit: p.COUNT, decimals: 0 }), ...["mean", "longest"].map((name) => p.column(name, { unit: p.MICROSECONDS, decimals: 1 }))] }),
  p.table([12, 7], "Upstreams", "Attempts at each address of the services, failures by kind (empty: a response head came). Not restricted to an API: an address may serve several.",
    `SELECT service, address, failure, attempts, q[1] AS p50, q[2] AS p99 FROM (
  SELECT service, address, failure, sum(n) AS attempts, sumMap(hist) AS h, ${p.quantiles(0.5, 0.99)} AS q FROM attempts_1m
  WHERE ${p.MINUTES}
  AND ${p.scope("organization", "environment", "site", "gateway")}
  GROUP BY service, address, failure)
ORDER BY attempts DESC LIMIT 50`,
    { overrides: [p.column("attempts", { unit: p.COUNT, decimals: 0 }), ...["p50", "p99"].map((name) => p.column(name, { unit: p.MICROSECONDS, decimals: 1 }))] }),
  p.bars([12, 7], "Consumers, user requests", "Who called, the most first.", p.COUNT,
    `SELECT if(consumer = '', 'nobody authenticated', consumer) AS who, sum(n) AS requests FROM consumers_1m
WHERE ${p.MINUTES} AND entry = 1
  AND ${OF_CONSUMERS}
GROUP BY consumer ORDER BY requests DESC LIMIT 20`, { links: [p.to("weir-consumers", "consumers")] }),
  p.table([12, 7], "Before and after the last configuration change", "Gateway requests of the minutes since each gateway began to serve its newest generation of the time shown, beside those of the minutes before.",
    BEFORE_AND_AFTER,
    {
      overrides: [
        p.column("requests", { unit: p.COUNT, decimals: 0 }),
        p.errors("errors"),
        ...["p50", "p99"].map((name) => p.column(name, { unit: p.MICROSECONDS, decimals: 1 })),
        p.column("begins", { displayName: "from", unit: p.TIME_UNIT }),
      ],
    }),
]);
