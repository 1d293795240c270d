// The error budget of each API, and how fast it is used up.
import * as p from "./parts.mjs";

const SCOPE = p.scope("organization", "environment", "site", "api");
const WHERE = `WHERE ${p.MINUTES} AND entry = 1 AND api != ''\n  AND ${SCOPE}`;
const BUDGET = "(1 - toFloat64OrZero(${objective:singlequote}) / 100)";
const LIMIT = "(toFloat64OrZero(${slow:singlequote}) * 1000)";
/** The first bucket above the time chosen. */
const FIRST_SLOW = `(arrayFirstIndex(k -> exp2(k / 8) - 1 >= ${LIMIT}, range(0, 512)) - 1)`;
/** How many of a histogram are slow. It is a sum, so histograms need not be merged for it. */
const slow = (hist) => `arrayDotProduct(mapValues(${hist}), arrayMap(k -> toUInt64(k >= ${FIRST_SLOW}), mapKeys(${hist})))`;

export default p.dashboard("slo", "SLO", "User requests against an objective: the part that must not fail, the part that must not be slow.", ["organization", "environment", "site", "api"], [
  p.table([24, 8], "Budget of each API", "Errors of user requests in the time shown beside those that the objective allows. `budget left` is the part of the allowed errors that is not used; below 0 it is overdrawn. `slow` is the part above the time chosen, by buckets of the histogram.",
    `SELECT api, requests, errors, 1 - errors / ${BUDGET} AS budget_left, errors / ${BUDGET} AS burn_rate, slow_ / requests AS slow FROM (
  SELECT api, sum(n) AS requests, sumIf(n, ${p.FAILED}) / sum(n) AS errors, sum(${slow("hist")}) AS slow_ FROM requests_1m ${WHERE} GROUP BY api)
ORDER BY budget_left, api LIMIT 100`,
    {
      overrides: [
        p.column("requests", { unit: p.COUNT, decimals: 0 }),
        p.errors("errors"),
        p.column("budget_left", { displayName: "budget left", unit: p.SHARE, decimals: 1, thresholds: { mode: "absolute", steps: [{ color: "red", value: null }, { color: "orange", value: 0 }, { color: "green", value: 0.25 }] }, "custom.cellOptions": { type: "color-text" } }),
        p.column("burn_rate", { displayName: "burn rate", unit: p.COUNT, decimals: 2 }),
        p.column("slow", { unit: p.SHARE, decimals: 2 }),
        p.column("api", { links: [p.to("weir-api", "this API", ["api", p.field("api")])] }),
      ],
    }),
  p.lines([12, 8], "Burn rate", "Errors of user requests divided by the part that the objective allows: at 1 the budget lasts exactly as long as its period, at 14.4 a budget of 30 days is gone in two.", p.COUNT,
    `SELECT ${p.TIME} AS time, api, sumIf(n, ${p.FAILED}) / sum(n) / ${BUDGET} AS burn FROM requests_1m ${WHERE}
GROUP BY time, api ORDER BY time, api`),
  p.lines([12, 8], "Slow user requests", "The part of user requests above the time chosen, by buckets of the histogram.", p.SHARE,
    `SELECT ${p.TIME} AS time, api, sum(${slow("hist")}) / sum(n) AS slow FROM requests_1m ${WHERE}
GROUP BY time, api ORDER BY time, api`),
  p.bars([24, 7], "Errors by API", "Failed user requests in the time shown: where the budget went.", p.COUNT,
    `SELECT api, sumIf(n, ${p.FAILED}) AS failures FROM requests_1m ${WHERE} GROUP BY api ORDER BY failures DESC LIMIT 20`,
    { links: [p.to("weir-events", "failed requests", ["result", "failed"])] }),
], {
  time: "now-24h",
  more: [
    p.chosen("objective", "objective, %", "the part of user requests that must not fail", ["99", "99.5", "99.9", "99.95", "99.99"], "99.9"),
    p.chosen("slow", "slow from, ms", "user requests that take longer are slow", ["50", "100", "250", "500", "1000", "5000"], "500"),
  ],
});
