// The parts that every dashboard is made of: variables, panels, links, and fragments of SQL that must mean the same
// everywhere (what is an error, which seconds a step has, how a percentile is made of a histogram).
//
// What a panel may have is what crates/api/src/dashboards.rs knows: the page draws that, and refuses the rest.

const DATASOURCE = { type: "grafana-clickhouse-datasource", uid: "${datasource}" };

/** Failed by the fault of a gateway or an upstream, whatever the status: `FAILED` in crates/analytics/src/schema/selects.rs. */
export const FAILED = "(status >= 500 OR side = 'upstream' OR side = 'gateway' AND reason != 'policy_answered')";

/** The variables of an identity and its traffic, by the column that each of them restricts. */
export const VARIABLES = ["organization", "environment", "site", "gateway", "api", "route", "consumer"];

const only = (name) => `$__conditionalAll(${name} IN (\${${name}:singlequote}), $${name})`;

/** The condition that rows are of what is selected; `columns` are those that the table has. */
export const scope = (...columns) => columns.map(only).join("\n  AND ");

/** The rows of a roll-up in the time shown: whole minutes that begin in it. */
export const MINUTES = "$__timeFilter(t)";

/** Seconds of a step: never finer than the roll-up. */
export const STEP = "greatest($__interval_s, 60)";

/** The step that a minute belongs to. */
export const TIME = `toStartOfInterval(t, INTERVAL ${STEP} second)`;

/** The seconds of the step `time` that lie in the time shown: the first and the last are cut by its ends. */
export const SECONDS =
  `greatest(1, least(toInt64(toUnixTimestamp(time)) + ${STEP}, toInt64(toUnixTimestamp($__toTime)))` +
  ` - greatest(toInt64(toUnixTimestamp(time)), intDiv(toInt64(toUnixTimestamp($__fromTime)) + 59, 60) * 60))`;

/** Percentiles of the merged histogram `h`, in microseconds, as an array. Percentiles are never averaged. */
export const quantiles = (...levels) =>
  `arrayReduce('quantilesExactWeighted(${levels.join(", ")})', arrayMap(k -> exp2((k + 0.5) / 8) - 1, mapKeys(h)), mapValues(h))`;

/** The condition that an event is of the trace that is typed. Every part of it is folded before it is read, which `leftPad` is
 *  not: only so the index of traces is used. */
export const OF_TRACE = "trace_id = toFixedString(unhex(substring(concat(repeat('0', 32), ${trace:singlequote}), -32)), 16)";

/** A minute since which there are `count` events at least that `condition` holds of, or 1970: what is older is not among the
 *  newest `count`, and need not be read. A row of the roll-up stands for one event at least. The minute of the end is left
 *  out, since its rows may be of later events. */
export const newest = (count, condition) => `(SELECT max(t) FROM (SELECT t, sum(rows_) OVER (ORDER BY t DESC) AS reached FROM (
    SELECT t, count() AS rows_ FROM requests_1m WHERE ${MINUTES} AND t <= $__toTime - 60 AND n > 0
  AND ${condition} GROUP BY t)) WHERE reached >= ${count})`;

/** A trace as text. */
export const TRACE = "lower(hex(trace_id))";

// Units, as Grafana names them.
export const [PER_SECOND, COUNT, SHARE, MICROSECONDS, SECONDS_UNIT, BYTES, TEXT, TIME_UNIT] =
  ["reqps", "short", "percentunit", "µs", "s", "bytes", "string", "dateTimeAsIso"];

/** Green, then other colours from a value on. */
export const thresholds = (...steps) => ({
  mode: "absolute",
  steps: [{ color: "green", value: null }, ...steps.map(([value, color]) => ({ color, value }))],
});

const ERRORS = thresholds([0.001, "orange"], [0.01, "red"]);

/** A link to another dashboard of these, with variables, the organizations and environments, and the time shown. */
export const to = (uid, title, ...settings) => ({
  title,
  url: `/d/${uid}?` + [...settings.map(([name, value]) => `var-${name}=${value}`),
    "${organization:queryparam}", "${environment:queryparam}", "${__url_time_range}"].join("&"),
});

/** The value of a column of the row that was clicked. */
export const field = (name) => `\${__data.fields.${name}}`;

/** How one column is shown. */
export const column = (name, properties) => ({
  matcher: { id: "byName", options: name },
  properties: Object.entries(properties).map(([id, value]) => ({ id, value })),
});

/** The columns of a table that are shares of errors. */
export const errors = (name) => column(name, { unit: SHARE, decimals: 2, thresholds: ERRORS, "custom.cellOptions": { type: "color-text" } });

const target = (refId, format, rawSql) => ({
  refId,
  datasource: DATASOURCE,
  editorType: "sql",
  format,
  queryType: { 0: "timeseries", 1: "table", 3: "traces" }[format],
  rawSql: rawSql.trim(),
});

const REF_IDS = ["A", "B", "C"];

/** A panel; `sql` is one query or several. `format` 0: the first column is the time; 1: a table; 3: spans. */
function panel(type, format, size, title, description, unit, sql, { defaults = {}, overrides = [], links = [], ...options } = {}) {
  const [w, h] = size;
  const queries = [sql].flat();
  return {
    type,
    title,
    description,
    gridPos: { w, h },
    datasource: DATASOURCE,
    targets: queries.map((query, index) => target(REF_IDS[index], format, query)),
    fieldConfig: { defaults: { unit, noValue: "no data", ...defaults }, overrides },
    options,
    ...(links.length ? { links } : {}),
  };
}

/** One figure over the time shown. */
export const stat = (size, title, description, unit, sql, { steps = [], ...more } = {}) =>
  panel("stat", 1, size, title, description, unit, sql, {
    ...more,
    defaults: { thresholds: thresholds(...steps), ...more.defaults },
    reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false },
    colorMode: steps.length ? "value" : "none",
    graphMode: "none",
    justifyMode: "auto",
    orientation: "auto",
    textMode: "auto",
  });

/** Lines over time; `stacking` has them add up. */
export const lines = (size, title, description, unit, sql, { stacking = false, custom = {}, ...more } = {}) =>
  panel("timeseries", 0, size, title, description, unit, sql, {
    ...more,
    defaults: {
      ...more.defaults,
      min: 0,
      custom: {
        drawStyle: "line",
        lineWidth: 1,
        fillOpacity: stacking ? 40 : 8,
        showPoints: "auto",
        spanNulls: false,
        stacking: { mode: stacking ? "normal" : "none", group: "A" },
        ...custom,
      },
    },
    legend: { displayMode: "list", placement: "bottom", showLegend: true, calcs: [] },
    tooltip: { mode: "multi", sort: "desc" },
  });

export const table = (size, title, description, sql, more = {}) =>
  panel("table", 1, size, title, description, TEXT, sql, { ...more, showHeader: true, cellHeight: "sm" });

export const bars = (size, title, description, unit, sql, more = {}) =>
  panel("bargauge", 1, size, title, description, unit, sql, {
    ...more,
    defaults: { min: 0, thresholds: thresholds(), ...more.defaults },
    reduceOptions: { calcs: ["lastNotNull"], fields: "", values: true, limit: 20 },
    orientation: "horizontal",
    displayMode: "basic",
    showUnfilled: true,
    valueMode: "color",
  });

/** The query's columns: time, the upper edge of a bucket in `unit`, how many. */
export const heat = (size, title, description, unit, sql, more = {}) =>
  panel("heatmap", 0, size, title, description, COUNT, sql, {
    ...more,
    calculate: false,
    color: { mode: "scheme", scheme: "Oranges", steps: 64, exponent: 0.5, reverse: false, fill: "dark-orange", scale: "exponential" },
    yAxis: { unit, axisPlacement: "left", reverse: false },
    rowsFrame: { layout: "le" },
    cellGap: 1,
    tooltip: { mode: "single", yHistogram: false, showColorScale: false },
    legend: { show: true },
  });

/** Two queries: nodes (`id`, `title`, `subtitle`, `mainstat`, `secondarystat`, `arc__…`) and edges (`id`, `source`, `target`, …). */
export const graph = (size, title, description, unit, nodes, edges, more = {}) =>
  panel("nodeGraph", 1, size, title, description, unit, [nodes, edges], { ...more, nodes: {}, edges: {} });

/** The spans of one trace: `traceID`, `spanID`, `parentSpanID`, `serviceName`, `operationName`, `startTime`, `duration` (ms), `tags`. */
export const waterfall = (size, title, description, sql, more = {}) =>
  panel("traces", 3, size, title, description, "ms", sql, more);

export const text = ([w, h], title, description, content) => ({
  type: "text", title, description, gridPos: { w, h }, fieldConfig: { defaults: { unit: TEXT }, overrides: [] }, options: { mode: "markdown", content }, targets: [],
});

const ofTable = (name) => (name === "consumer" ? "consumers_1m" : "requests_1m");

/** A variable whose values are what the tables have. What stands before it in the list restricts it. */
function values(name, before) {
  const known = before.filter((other) => name !== "consumer" || !["gateway", "route"].includes(other));
  const conditions = [MINUTES, `${name} != ''`, ...known.map(only)].join("\n  AND ");
  return {
    type: "query",
    name,
    label: name,
    datasource: DATASOURCE,
    query: { editorType: "sql", refId: name, rawSql: `SELECT DISTINCT ${name} FROM ${ofTable(name)} WHERE ${conditions}\nORDER BY ${name} LIMIT 1000` },
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    hide: 0,
    current: { text: "All", value: "$__all" },
  };
}

/** A variable that is typed. */
export const typed = (name, label, description, initial = "") => ({
  type: "textbox", name, label, description, query: initial, hide: 0, current: { text: initial, value: initial },
});

/** A variable with a few values. */
export const chosen = (name, label, description, list, initial = list[0]) => ({
  type: "custom", name, label, description, query: list.join(","), multi: false, includeAll: false, hide: 0,
  current: { text: initial, value: initial },
  options: list.map((value) => ({ text: value, value, selected: value === initial })),
});

const datasource = { type: "datasource", name: "datasource", label: "data source", query: "grafana-clickhouse-datasource", hide: 0, current: {} };

/** Where a gateway began to serve another generation of its configuration. */
const changes = (variables) => ({
  name: "configuration changes",
  enable: true,
  hide: false,
  iconColor: "purple",
  datasource: DATASOURCE,
  target: {
    refId: "Anno",
    editorType: "sql",
    format: 1,
    rawSql: `SELECT min(first) AS time, concat(site, '/', gateway, ': generation ', toString(generation)) AS text,
  arrayStringConcat([organization, environment, site, gateway], ',') AS tags
FROM generations_1m
WHERE t > $__fromTime - 60 AND t <= $__toTime
  AND ${scope(...["organization", "environment", "site", "gateway"].filter((name) => variables.includes(name)))}
GROUP BY organization, environment, site, gateway, replica, generation
HAVING time > $__fromTime + 60 AND time <= $__toTime
ORDER BY time LIMIT 200`,
  },
});

/** Where a gateway began to run another version of the program. */
const upgrades = (variables) => ({
  name: "version changes",
  enable: true,
  hide: false,
  iconColor: "blue",
  datasource: DATASOURCE,
  target: {
    refId: "Anno",
    editorType: "sql",
    format: 1,
    rawSql: `SELECT min(t) AS time, concat(site, '/', gateway, ': version ', version) AS text,
  arrayStringConcat([organization, environment, site, gateway], ',') AS tags
FROM gateway_gauges
WHERE $__timeFilter(t)
  AND ${scope(...["organization", "environment", "site", "gateway"].filter((name) => variables.includes(name)))}
GROUP BY organization, environment, site, gateway, replica, version
HAVING time > $__fromTime + 60
ORDER BY time LIMIT 200`,
  },
});

/** The places of panels: one after the other, in rows of 24 columns. */
function placed(panels) {
  let [x, y, tallest] = [0, 0, 0];
  return panels.map((one, index) => {
    const { w, h } = one.gridPos;
    if (x + w > 24) [x, y, tallest] = [0, y + tallest, 0];
    const at = { ...one, id: index + 1, gridPos: { x, y, w, h } };
    x += w;
    tallest = Math.max(tallest, h);
    return at;
  });
}

const OTHERS = {
  type: "dashboards", title: "Weir", tags: ["weir"], asDropdown: true, includeVars: true, keepTime: true, targetBlank: false, icon: "external link",
};

/** A dashboard. Its file is `name`.json, its address /d/weir-`name`. */
export const dashboard = (name, title, description, variables, panels, { more = [], time = "now-1h" } = {}) => ({
  name,
  json: {
    uid: `weir-${name}`,
    title: `Weir / ${title}`,
    description,
    tags: ["weir"],
    schemaVersion: 39,
    version: 1,
    editable: false,
    graphTooltip: 1,
    timezone: "browser",
    refresh: "30s",
    time: { from: time, to: "now" },
    templating: { list: [datasource, ...variables.map((variable, index) => values(variable, variables.slice(0, index))), ...more] },
    annotations: { list: [changes(variables), upgrades(variables)] },
    links: [OTHERS],
    panels: placed(panels),
  },
});
