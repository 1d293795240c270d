// Single requests: a list that can be filtered, one event in full, and its trace.
import * as p from "./parts.mjs";

/** A text that is given restricts, an empty one does not. */
const typed = (name, condition) => `(\${${name}:singlequote} = '' OR ${condition})`;

const WHERE = `WHERE $__timeFilter(ts) AND sample_interval > 0
  AND ${p.scope(...p.VARIABLES)}
  AND (\${result:singlequote} = 'all' OR \${result:singlequote} = 'failed' AND ${p.FAILED} OR \${result:singlequote} = 'refused' AND status >= 400 AND status < 500 AND NOT ${p.FAILED}
    OR \${result:singlequote} = 'passed' AND status < 400 AND NOT ${p.FAILED})
  AND ${typed("reason", "reason = ${reason:singlequote}")}
  AND ${typed("status", "toString(status) = ${status:singlequote}")}
  AND ${typed("search", "positionCaseInsensitiveUTF8(concat(method, ' ', path, ' ', host, ' ', user_agent), ${search:singlequote}) > 0")}
  AND ${typed("trace", p.OF_TRACE)}`;

/** Whose fault an event may be; empty: nobody's. Those of `Side` in crates/event/src/reason.rs. */
const SIDES = ["", "downstream", "gateway", "upstream"];

/** What one event says, as names and texts. */
const ONE = `SELECT tupleElement(pair, 1) AS field, tupleElement(pair, 2) AS value FROM (
  SELECT arrayJoin(arrayFilter(x -> x.2 NOT IN ('', '0', '[]', '{}', '::'), arrayMap((name, text) -> (name, text),
    ['time', 'organization', 'environment', 'site', 'gateway', 'replica', 'generation', 'entry', 'api', 'route', 'service', 'upstream', 'consumer', 'auth',
     'method', 'scheme', 'host', 'path', 'query', 'path_template', 'protocol', 'tls_version', 'client_ip', 'user_agent', 'status', 'upstream_status',
     'reason', 'side', 'outcome', 'answered_by', 'retries', 'cache', 'rate_limit', 'total_us', 'gateway_us', 'upstream_us', 'client_us', 'link_us',
     'connect_us', 'tls_us', 'first_byte_us', 'bytes_in', 'bytes_out', 'policy_names', 'policy_verdicts', 'policy_us', 'attempt_upstreams',
     'attempt_outcomes', 'attempt_us', 'trace_id', 'span_id', 'parent_span_id', 'kept', 'attrs'],
    [toString(ts), organization, environment, site, gateway, replica, toString(generation), toString(entry), api, route, service, upstream, consumer, auth,
     method, scheme, host, path, query, path_template, protocol, tls_version, toString(client_ip), user_agent, toString(status), toString(upstream_status),
     reason, side, outcome, answered_by, toString(retries), cache, rate_limit, toString(total_us), toString(gateway_us), toString(upstream_us),
     toString(client_us), toString(link_us), toString(connect_us), toString(tls_us), toString(first_byte_us), toString(bytes_in), toString(bytes_out),
     toString(policy_names), toString(policy_verdicts), toString(policy_us), toString(attempt_upstreams), toString(attempt_outcomes),
     toString(attempt_us), lower(hex(trace_id)), lower(hex(span_id)), lower(hex(parent_span_id)), kept, toString(attrs)]))) AS pair
  FROM (SELECT * FROM access_events ${WHERE} ORDER BY ts DESC LIMIT 1)
)`;

const TIMES = ["total", "gateway_time", "upstream_time", "client_time"].map((name) => p.column(name, { unit: p.MICROSECONDS, decimals: 1, displayName: name.replace("_time", "") }));

export default p.dashboard("events", "Events", "Single requests at single gateways. A request through two gateways is two events with one trace.", p.VARIABLES, [
  p.stat([6, 6], "Events that match", "Gateway requests in the time shown that match what is selected above.", p.COUNT,
    `SELECT sum(sample_interval) AS events FROM access_events ${WHERE} HAVING sum(sample_interval) > 0`, { defaults: { decimals: 0 } }),
  p.lines([18, 6], "Events over time", "How many match, a second, by whose fault they are (empty: nobody's).", p.PER_SECOND,
    // One sum a side, and not a group: half the CPU.
    `SELECT time, fault, number / ${p.SECONDS} AS events FROM (
  SELECT toStartOfInterval(ts, INTERVAL ${p.STEP} second) AS time, [${SIDES.map((side) => `sumIf(sample_interval, side = '${side}')`).join(", ")}] AS numbers
  FROM access_events ${WHERE} GROUP BY time)
ARRAY JOIN numbers AS number, ['in order', ${SIDES.slice(1).map((side) => `'${side}'`).join(", ")}] AS fault
WHERE number > 0 ORDER BY time, fault`, { stacking: true }),
  p.table([24, 14], "Events", "The last 200 that match, the newest first. Times are those of the viewer's time zone.",
    `SELECT ts AS time, site, gateway, api, route, consumer, method, path, status, reason, side AS fault, total_us AS total, gateway_us AS gateway_time,
  upstream_us AS upstream_time, client_us AS client_time, ${p.TRACE} AS trace
FROM access_events ${WHERE}
ORDER BY ts DESC LIMIT 200`,
    {
      overrides: [
        p.column("time", { unit: p.TIME_UNIT }),
        ...TIMES,
        p.column("fault", { displayName: "fault of" }),
        p.column("status", { thresholds: p.thresholds([400, "orange"], [500, "red"]), "custom.cellOptions": { type: "color-text" } }),
        p.column("trace", { links: [p.to("weir-events", "only this trace", ["trace", p.field("trace")]), p.to("weir-chain", "its way", ["trace", p.field("trace")])] }),
        p.column("api", { links: [p.to("weir-api", "this API", ["api", p.field("api")])] }),
      ],
    }),
  p.table([24, 14], "One event in full", "The newest event that matches: every field that says something. Name a trace above, and a gateway where it passed several.", ONE),
], {
  more: [
    p.chosen("result", "result", "`failed`: by the fault of a gateway or an upstream; `refused`: 400 to 499 and not failed", ["all", "failed", "refused", "passed"]),
    p.typed("reason", "reason", "the exact word of docs/reasons.md"),
    p.typed("status", "status", "the exact status"),
    p.typed("search", "search", "a part of method, path, host or user agent"),
    p.typed("trace", "trace", "32 hex digits"),
  ],
});
