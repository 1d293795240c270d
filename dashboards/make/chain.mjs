// The way of requests through several gateways, and of one request in full.
import * as p from "./parts.mjs";

const SCOPE = p.scope("organization", "environment", "site", "gateway", "api");

/** The hops of the newest 20,000 events, each an array in the order of time: (ts, name, total, link, service, failed). */
const HOPS = `SELECT arraySort(groupArray((ts, concat(site, '/', gateway), total_us, link_us, service, toUInt8(${p.FAILED}), gateway_us))) AS hops
  FROM (SELECT * FROM access_events WHERE $__timeFilter(ts) AND sample_interval > 0
    AND (\${trace:singlequote} = '' OR ${p.OF_TRACE})
    AND ts >= if(\${trace:singlequote} = '', ${p.newest(20000, SCOPE)}, toDateTime(0))
    AND ${SCOPE} ORDER BY ts DESC LIMIT 20000)
  GROUP BY trace_id`;

const NODES = `SELECT node AS id, node AS title, kind AS subtitle, concat(toString(round(sum(own) / count() / 1000, 2)), ' ms') AS mainstat,
  concat(toString(count()), ' requests') AS secondarystat, 1 - sum(failed) / count() AS arc__passed, sum(failed) / count() AS arc__failed
FROM (
  SELECT x.2 AS node, 'gateway' AS kind, toInt64(x.7) AS own, x.6 AS failed FROM (${HOPS}) ARRAY JOIN hops AS x
  UNION ALL
  SELECT concat('service ', hops[-1].5) AS node, 'upstream' AS kind, toInt64(greatest(0, toInt64(hops[-1].3) - toInt64(hops[-1].7))) AS own, hops[-1].6 AS failed
  FROM (${HOPS}) WHERE hops[-1].5 != ''
)
GROUP BY node, kind ORDER BY node LIMIT 200`;

const EDGES = `SELECT concat(source, ' to ', target) AS id, source, target, concat(toString(count()), ' requests') AS mainstat,
  if(sum(link) > 0, concat('link ', toString(round(sum(link) / countIf(link > 0) / 1000, 2)), ' ms'), '') AS secondarystat
FROM (
  SELECT tupleElement(pair, 1) AS source, tupleElement(pair, 2) AS target, tupleElement(pair, 3) AS link FROM (
    SELECT arrayJoin(arrayConcat(
      arrayMap((a, b) -> (a.2, b.2, a.4), arrayPopBack(hops), arrayPopFront(hops)),
      if(hops[-1].5 != '', [(hops[-1].2, concat('service ', hops[-1].5), toUInt32(0))], []))) AS pair
    FROM (${HOPS})
  )
)
GROUP BY source, target ORDER BY source, target LIMIT 500`;

export default p.dashboard("chain", "Chain", "The way of requests from site to site to the upstream, with the time on each link; and one trace from its events alone.", ["organization", "environment", "site", "gateway", "api"], [
  p.graph([24, 11], "The way of requests", "Gateways and services with the requests between them, of the newest 20,000 events shown. A gateway's figure is its own time, a service's the time that the last gateway waited; the ring is the part that failed.", p.TEXT, NODES, EDGES),
  p.waterfall([24, 10], "One trace", "Each gateway's event as a span, with its policies and attempts, from events alone. Clocks of different machines may differ by a little. Name a trace above.",
    `SELECT lower(hex(trace_id)) AS traceID, tupleElement(s, 1) AS spanID, tupleElement(s, 2) AS parentSpanID, concat(site, '/', gateway) AS serviceName,
  tupleElement(s, 3) AS operationName, toUnixTimestamp64Micro(ts) / 1000 + tupleElement(s, 4) / 1000 AS startTime, tupleElement(s, 5) / 1000 AS duration, tupleElement(s, 6) AS tags
FROM access_events
ARRAY JOIN arrayConcat(
  [(lower(hex(span_id)), if(parent_span_id = unhex('0000000000000000'), '', lower(hex(parent_span_id))), concat(method, ' ', path), toUInt64(0), toUInt64(total_us),
    [map('key', 'status', 'value', toString(status)), map('key', 'reason', 'value', toString(reason)), map('key', 'fault of', 'value', toString(side)),
     map('key', 'gateway µs', 'value', toString(gateway_us)), map('key', 'upstream µs', 'value', toString(upstream_us)), map('key', 'client µs', 'value', toString(client_us)), map('key', 'link µs', 'value', toString(link_us))])],
  arrayMap((i, name, verdict, us) -> (concat(lower(hex(span_id)), '-p', toString(i)), lower(hex(span_id)), concat('policy ', name), toUInt64(policy_start_us[i]), toUInt64(us),
    [map('key', 'verdict', 'value', toString(verdict))]), arrayEnumerate(policy_names), policy_names, policy_verdicts, policy_us),
  arrayMap((i, address, failure, us) -> (lower(leftPad(hex(reinterpretAsUInt64(reverse(span_id)) + i), 16, '0')), lower(hex(span_id)), concat('attempt ', address), toUInt64(attempt_start_us[i]), toUInt64(us),
    [map('key', 'failure', 'value', toString(failure))]), arrayEnumerate(attempt_upstreams), attempt_upstreams, attempt_outcomes, attempt_us)
) AS s
WHERE \${trace:singlequote} != '' AND ${p.OF_TRACE}
  AND ${p.scope("organization", "environment")}
ORDER BY ts, startTime LIMIT 500`, { links: [p.to("weir-events", "its events", ["trace", "${trace}"])] }),
  p.lines([12, 8], "Time on links", "The mean way to the next gateway and back, of requests whose next gateway reported its time.", p.MICROSECONDS,
    `SELECT ${p.TIME} AS time, concat(site, '/', gateway, ' to ', service) AS link, sum(link_us) / sum(linked) AS mean FROM links_1m
WHERE ${p.MINUTES}
  AND ${SCOPE}
GROUP BY time, site, gateway, service HAVING sum(linked) > 0 ORDER BY time, link`),
  p.table([12, 8], "Links", "One row a way from a gateway to a service: requests sent on, those that failed by the upstream's side, percentiles of the time on the link, means of connecting and of the first byte.",
    `SELECT site, gateway, service, sent, errors, if(linked_ > 0, q[1], NULL) AS p50, if(linked_ > 0, q[2], NULL) AS p99, connect, first_byte FROM (
  SELECT site, gateway, service, sum(n) AS sent, sum(failed) / sum(n) AS errors, sum(linked) AS linked_, sumMap(hist) AS h, ${p.quantiles(0.5, 0.99)} AS q,
    sum(connect_us) / sum(n) AS connect, sum(first_byte_us) / sum(n) AS first_byte
  FROM links_1m WHERE ${p.MINUTES}
  AND ${SCOPE}
  GROUP BY site, gateway, service)
ORDER BY site, gateway, service LIMIT 200`,
    {
      overrides: [
        p.column("sent", { unit: p.COUNT, decimals: 0 }),
        p.errors("errors"),
        ...["p50", "p99", "connect"].map((name) => p.column(name, { unit: p.MICROSECONDS, decimals: 1 })),
        p.column("first_byte", { displayName: "first byte", unit: p.MICROSECONDS, decimals: 1 }),
      ],
    }),
  p.table([24, 8], "Slowest user requests", "Traces to look at: the slowest of the time shown.",
    `SELECT ts AS time, site, gateway, api, method, path, status, total_us AS total, link_us AS link, ${p.TRACE} AS trace FROM access_events
WHERE $__timeFilter(ts) AND sample_interval > 0 AND entry = 1
  AND ${SCOPE}
ORDER BY total_us DESC LIMIT 20`,
    {
      overrides: [
        p.column("time", { unit: p.TIME_UNIT }),
        ...["total", "link"].map((name) => p.column(name, { unit: p.MICROSECONDS, decimals: 1 })),
        p.column("trace", { links: [p.to("weir-chain", "its way", ["trace", p.field("trace")])] }),
      ],
    }),
], { more: [p.typed("trace", "trace", "32 hex digits")] });
