// Who calls what.
import * as p from "./parts.mjs";

const KEYS = ["organization", "environment", "site", "api", "consumer"];
const WHERE = `WHERE ${p.MINUTES} AND entry = 1\n  AND ${p.scope(...KEYS)}`;
const WHO = "if(consumer = '', 'nobody authenticated', consumer)";

export default p.dashboard("consumers", "Consumers", "Who calls what: user requests by the consumer that authenticated.", KEYS, [
  p.lines([12, 8], "User requests by consumer", "Requests a second; the ten consumers with the most.", p.PER_SECOND,
    `SELECT ${p.TIME} AS time, ${WHO} AS who, sum(n) / ${p.SECONDS} AS requests FROM consumers_1m ${WHERE}
  AND consumer IN (SELECT consumer FROM consumers_1m ${WHERE} GROUP BY consumer ORDER BY sum(n) DESC LIMIT 10)
GROUP BY time, consumer ORDER BY time, consumer`),
  p.lines([12, 8], "Over their limit", "User requests a second that were over a rate limit, by consumer.", p.PER_SECOND,
    `SELECT ${p.TIME} AS time, ${WHO} AS who, sum(limited) / ${p.SECONDS} AS over FROM consumers_1m ${WHERE}
  AND consumer IN (SELECT consumer FROM consumers_1m ${WHERE} GROUP BY consumer ORDER BY sum(limited) DESC LIMIT 10)
GROUP BY time, consumer ORDER BY time, consumer`),
  p.table([24, 10], "Consumers and APIs", "One row a consumer and API, the most requests first. `refused` has status 400 to 499 and did not fail.",
    `SELECT ${WHO} AS who, api, sum(n) AS requests, sum(failed) / sum(n) AS errors, sum(refused) AS refusals, sum(limited) AS over_limit,
  sum(total_us) / sum(n) AS mean, max(max_total_us) AS longest, sum(bytes_in) AS received, sum(bytes_out) AS sent
FROM consumers_1m ${WHERE}
GROUP BY consumer, api ORDER BY requests DESC LIMIT 100`,
    {
      overrides: [
        ...["requests", "refusals"].map((name) => p.column(name, { unit: p.COUNT, decimals: 0 })),
        p.column("over_limit", { displayName: "over limit", unit: p.COUNT, decimals: 0 }),
        p.errors("errors"),
        ...["mean", "longest"].map((name) => p.column(name, { unit: p.MICROSECONDS, decimals: 1 })),
        ...["received", "sent"].map((name) => p.column(name, { unit: p.BYTES })),
        p.column("api", { links: [p.to("weir-api", "this API", ["api", p.field("api")])] }),
      ],
    }),
  p.bars([12, 9], "Top consumers", "User requests in the time shown.", p.COUNT,
    `SELECT ${WHO} AS who, sum(n) AS requests FROM consumers_1m ${WHERE} GROUP BY consumer ORDER BY requests DESC LIMIT 20`),
  p.table([12, 9], "New consumers", "Consumers whose first request of the last 30 days lies in the time shown.",
    `SELECT consumer AS who, min(t) AS first, sum(n) AS requests FROM consumers_1m
WHERE t > $__toTime - 2592000 AND t <= $__toTime AND entry = 1 AND consumer != ''
  AND ${p.scope(...KEYS)}
GROUP BY consumer HAVING first >= $__fromTime ORDER BY first DESC LIMIT 100`,
    { overrides: [p.column("first", { displayName: "first minute", unit: p.TIME_UNIT }), p.column("requests", { unit: p.COUNT, decimals: 0 })] }),
]);
