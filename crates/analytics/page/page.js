"use strict";
// Draws what the query API answers. Text of events is only ever set as text, never parsed as markup.
// Its types `api.…` are those of api.d.ts, which is generated from the server's documents; `tests/page.rs` checks it against them.

const EVERY = 2000;

/** The element of that id, which index.html has. @param {string} id */
const at = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/**
 * An element; children are elements or text.
 * @param {string} tag
 * @param {Record<string, string | number | boolean | null | undefined | Partial<CSSStyleDeclaration>>} attributes
 * @param {...(Node | string | number)} children
 */
function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "object") Object.assign(made.style, value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

/**
 * The document of a query; a parameter that its path has goes there.
 * @template {keyof api.Queries} P
 * @param {P} path
 * @param {api.Queries[P]["parameters"]} parameters
 * @returns {Promise<api.Queries[P]["document"]>}
 */
async function ask(path, parameters) {
  /** @type {string} */
  let where = path;
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (where.includes("{" + name + "}")) where = where.replace("{" + name + "}", encodeURIComponent(String(value)));
    else query.set(name, String(value));
  }
  const answer = await fetch(where + "?" + query, { signal: AbortSignal.timeout(15000) });
  const body = await answer.json();
  if (answer.ok) return body;
  if (answer.status === 401) location.assign("/login?" + new URLSearchParams({ next: location.pathname }));
  /** @type {api.ErrorDocument} */
  const refused = body;
  throw new Error(refused.error || "status " + answer.status);
}

/** What a failure says. @param {unknown} error */
const messageOf = (error) => (error instanceof Error ? error.message : String(error));

// Figures.

const whole = new Intl.NumberFormat("en");
/** @param {number} n */
const count = (n) => whole.format(n);

/** @param {number | null} us */
function duration(us) {
  if (us === null) return "–";
  if (us < 1000) return Math.round(us) + " µs";
  if (us < 1e6) return (us / 1000).toFixed(us < 1e4 ? 1 : 0) + " ms";
  return (us / 1e6).toFixed(us < 1e7 ? 2 : 1) + " s";
}

/** @param {number} seconds */
function age(seconds) {
  if (seconds < 90) return seconds + " s";
  if (seconds < 5400) return Math.round(seconds / 60) + " min";
  return Math.round(seconds / 3600) + " h";
}

/** @param {number} part @param {number} all */
function percent(part, all) {
  if (!all) return "–";
  const share = (100 * part) / all;
  return share === 0 ? "0 %" : share < 0.1 ? "< 0.1 %" : share.toFixed(1) + " %";
}

const SHORT = 120;

/** Text that may be as long as a client made it: its beginning, and all of it on demand. @param {string} text */
function long(text) {
  const letters = Array.from(text);
  if (letters.length <= SHORT) return el("span", { class: "mono" }, text);
  return el("details", { class: "long" },
    el("summary", {}, el("span", { class: "mono" }, letters.slice(0, SHORT).join("") + "…"), " ",
      el("span", { class: "soft" }, "all " + count(letters.length) + " characters")),
    el("span", { class: "mono" }, text));
}

/** @param {string} id @param {string} [label] */
const traceLink = (id, label) => el("a", { href: "#trace=" + encodeURIComponent(id), class: "mono" }, label || id.slice(0, 8));
/** @param {string} id */
const known = (id) => id && !/^0*$/.test(id);

// Traffic.

/** @param {api.Traffic | api.TrafficSeries} row */
const keyOf = (row) => JSON.stringify([row.organization, row.environment, row.site, row.api]);

/** @param {api.TrafficSeries["points"] | undefined} points @param {number} minutes */
function spark(points, minutes) {
  const NS = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 60 16");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  // The minute that is running is not whole yet: it would always look like a fall.
  const last = Math.floor(Date.now() / 60000) - 1;
  /** @type {[number[], number[]]} */
  const values = [Array(minutes).fill(0), Array(minutes).fill(0)];
  for (const [t, requests, errors] of points || []) {
    const index = minutes - 1 - (last - t / 60);
    if (index >= 0 && index < minutes) {
      values[0][index] = requests;
      values[1][index] = errors;
    }
  }
  const top = Math.max(1, ...values[0]);
  values.forEach((line, which) => {
    if (which === 1 && !line.some(Boolean)) return;
    const path = document.createElementNS(NS, "path");
    if (which === 1) path.setAttribute("class", "errors");
    path.setAttribute("d", line.map((v, i) => (i ? "L" : "M") + ((60 * i) / (minutes - 1)).toFixed(1) + " " + (15 - (14 * v) / top).toFixed(1)).join(""));
    svg.append(path);
  });
  return svg;
}

/** The three times of a row or an event. @param {Pick<api.Traffic, "gateway_us" | "upstream_us" | "client_us">} times */
const threeTimes = (times) => /** @type {[string, number][]} */ ([["gateway", times.gateway_us], ["upstream", times.upstream_us], ["client", times.client_us]]);

/** @param {api.Traffic} row */
function shares(row) {
  const parts = threeTimes(row);
  const all = parts.reduce((sum, [, us]) => sum + us, 0);
  const said = parts.map(([name, us]) => name + " " + percent(us, all)).join(", ");
  return el("div", { class: "share", role: "img", "aria-label": said, title: said },
    ...parts.map(([name, us]) => el("span", { class: name, style: { width: all ? (100 * us) / all + "%" : "0" } })));
}

/** @param {api.Overview} overview @param {api.Series} series */
function drawTraffic(overview, series) {
  const lines = new Map(series.rows.map((row) => [keyOf(row), row.points]));
  const rows = overview.rows.map((row) => {
    const bad = row.errors > 0;
    return el("tr", {},
      el("td", {}, row.site || "–"),
      el("td", {}, row.api || el("span", { class: "soft" }, "no route")),
      el("td", {}, spark(lines.get(keyOf(row)), 60)),
      el("td", { class: "n" }, row.requests_per_second.toFixed(1)),
      el("td", { class: "n" }, count(row.requests)),
      el("td", { class: "n" + (bad ? " bad" : "") }, percent(row.errors, row.requests)),
      el("td", { class: "n" }, percent(row.rejected, row.requests)),
      el("td", { class: "n" }, duration(row.p50_us)),
      el("td", { class: "n" }, duration(row.p95_us)),
      el("td", { class: "n" }, duration(row.p99_us)),
      el("td", {}, shares(row)),
      el("td", {}, known(row.slowest_trace) ? traceLink(row.slowest_trace, duration(row.max_us)) : duration(row.max_us)));
  });
  if (!rows.length) rows.push(nothing(12, "No requests in the last hour. Point a gateway's analytics endpoint here, and send one."));
  at("rows").replaceChildren(...rows);
}

/** @param {number} columns @param {string} why */
const nothing = (columns, why) => el("tr", {}, el("td", { colspan: columns }, el("div", { class: "nothing" }, why)));

// Gateways, ledger, failures.

/** @param {api.Gateways} gateways */
function drawGateways(gateways) {
  // One line a gateway: its latest process.
  /** @type {Map<string, api.GatewayProcess>} */
  const latest = new Map();
  for (const row of gateways.rows) {
    const key = JSON.stringify([row.organization, row.environment, row.site, row.gateway, row.replica]);
    const seen = latest.get(key);
    if (!seen || row.silent_s < seen.silent_s) latest.set(key, row);
  }
  const lines = [...latest.values()].map((row) => {
    const name = [row.site, row.gateway, row.replica].filter(Boolean).join(" / ");
    const silent = row.silent_s > 30;
    const state = row.closed ? ["warn", "stopped, last heard " + age(row.silent_s) + " ago"]
      : silent ? ["bad", "SILENT for " + age(row.silent_s)]
      : ["good", "reporting, " + row.silent_s + " s ago"];
    return el("li", {}, el("strong", {}, name), " ", el("span", { class: state[0] }, state[1]), " ",
      el("span", { class: "soft" }, count(row.accepted) + " requests accepted"));
  });
  if (!lines.length) lines.push(el("li", { class: "soft" }, "No gateway has reported in the last day."));
  at("gateways").replaceChildren(...lines);
}

/** @param {api.Ledger} ledger */
function drawLedger(ledger) {
  const kind = { balanced: "good", missing: "bad", unknown: "warn", empty: "soft" }[ledger.state];
  at("balance").replaceChildren(el("span", { class: kind }, ledger.sentence));
  const parts = [`accepted ${count(ledger.accepted)}`, `stored ${count(ledger.stored)}`];
  if (ledger.waiting) parts.push(`waiting ${count(ledger.waiting)}`);
  if (ledger.missing) parts.push(`missing ${count(ledger.missing)}`);
  if (ledger.acknowledged) parts.push(`missing and acknowledged ${count(ledger.acknowledged)}`);
  const lines = ledger.state === "empty" ? [] : [el("li", { class: "soft" }, parts.join(" · "))];
  for (const stream of ledger.streams.filter((stream) => stream.state !== "balanced").slice(0, 8)) {
    const name = stream.worker === null ? "stream " + stream.stream
      : [stream.site, stream.gateway, stream.replica, "worker " + stream.worker].filter(Boolean).join(" / ");
    lines.push(el("li", {}, name + ": ", el("span", { class: stream.state === "missing" ? "bad" : "warn" }, stream.claim),
      stream.advice ? el("span", { class: "soft" }, " – " + stream.advice) : ""));
  }
  at("accounts").replaceChildren(...lines);
}

/** @param {api.Requests} errors */
function drawFailures(errors) {
  const rows = errors.rows.map((row) => el("tr", {},
    el("td", {}, row.ts.slice(11, 23)),
    el("td", {}, row.site), el("td", {}, row.api || "–"),
    el("td", { class: "path mono", title: row.path }, row.method + " " + row.path),
    el("td", { class: "n bad" }, row.status),
    el("td", {}, row.reason || "upstream's own answer"), el("td", {}, row.side || "–"),
    el("td", { class: "n" }, duration(row.total_us)),
    el("td", {}, known(row.trace_id) ? traceLink(row.trace_id) : "–")));
  if (!rows.length) rows.push(nothing(9, "None in the last hour."));
  at("failures").replaceChildren(...rows);
}

// One trace: each gateway's event as a lane on one time axis, its own time split in three.

/** @param {string} ts */
const micros = (ts) => Date.parse(ts.slice(0, 23) + "Z") * 1000 + Number(ts.slice(23, 26) || 0);

/** @param {api.Event[]} events */
function ordered(events) {
  const bySpan = new Map(events.map((event) => [event.span_id, event]));
  /** @type {(event: api.Event, guard?: number) => number} */
  const depth = (event, guard = 0) => {
    const parent = bySpan.get(event.parent_span_id);
    return parent && parent !== event && guard < 32 ? 1 + depth(parent, guard + 1) : 0;
  };
  return events.map((event) => ({ event, depth: depth(event) }))
    .sort((a, b) => a.depth - b.depth || micros(a.event.ts) - micros(b.event.ts));
}

/** @param {{ event: api.Event, depth: number }} lane @param {number} start @param {number} width */
function hop({ event, depth }, start, width) {
  const from = micros(event.ts) - start;
  const parts = threeTimes(event);
  const bar = el("div", { style: { left: (100 * from) / width + "%", width: (100 * event.total_us) / width + "%" } },
    ...parts.map(([name, us]) => el("span", { class: name, style: { width: event.total_us ? (100 * us) / event.total_us + "%" : "0" } })));
  const said = parts.map(([name, us]) => name + " " + duration(us)).join(" · ");
  const failed = event.status >= 500 || event.reason;
  // Only the words are indented: the bars share one axis.
  const indent = { paddingLeft: depth * 1.2 + "rem" };
  return el("div", { class: "hop" },
    el("div", { style: indent }, el("strong", {}, event.site + " / " + event.gateway), " ",
      long(event.method + " " + event.path), " ",
      el("span", { class: failed ? "bad" : "good" }, event.status + (event.reason ? " " + event.reason : "")), " ",
      el("span", { class: "soft" }, "at +" + duration(from))),
    el("div", { class: "lane", role: "img", "aria-label": said }, bar),
    el("div", { class: "soft", style: indent }, duration(event.total_us) + " = " + said + (event.link_us ? " · way between " + duration(event.link_us) : "")));
}

async function drawTrace() {
  const id = new URLSearchParams(location.hash.slice(1)).get("trace");
  at("trace").hidden = !id;
  if (!id) return;
  at("trace-title").textContent = "Trace " + id;
  try {
    const events = (await ask("/api/v1/trace/{id}", { id })).events;
    const start = Math.min(...events.map((event) => micros(event.ts)));
    const end = Math.max(...events.map((event) => micros(event.ts) + event.total_us));
    const lanes = ordered(events).map((lane) => hop(lane, start, Math.max(1, end - start)));
    at("trace-note").textContent = events.length
      ? events.length + (events.length === 1 ? " event, " : " events, ") + duration(end - start) + " in all. Clocks of different machines may differ by a little."
      : "No event of this trace is stored. It may be on its way: a gateway sends within seconds.";
    at("waterfall").replaceChildren(...lanes);
  } catch (error) {
    at("trace-note").textContent = "The trace cannot be shown: " + messageOf(error);
    at("waterfall").replaceChildren();
  }
}

// The clockwork.

let paused = false;
let timer = 0;
let round = 0;

async function refresh() {
  clearTimeout(timer);
  if (paused || document.hidden) return;
  try {
    // The ledger adds up a whole day: every fifth time is often enough.
    const slow = round++ % 5 === 0;
    const [overview, series, gateways, errors, ledger] = await Promise.all(
      [ask("/api/v1/overview", { minutes: 60 }), ask("/api/v1/series", { minutes: 62 }), ask("/api/v1/gateways", {}),
        ask("/api/v1/errors", { minutes: 60, limit: 15 }), slow ? ask("/api/v1/ledger", { minutes: 1440 }) : null]);
    drawTraffic(overview, series);
    drawGateways(gateways);
    drawFailures(errors);
    if (ledger) drawLedger(ledger);
    const now = overview.rows.reduce((sum, row) => sum + row.requests_per_second, 0);
    say(now.toFixed(1) + " requests a second over all gateways.");
  } catch (error) {
    say("The figures below are old: " + messageOf(error), "bad");
  }
  timer = setTimeout(refresh, EVERY);
}

/** Only what changed in kind is announced: a reader of screens must not hear every figure. @param {string} text @param {"bad"} [kind] */
function say(text, kind) {
  const state = at("state");
  state.setAttribute("aria-live", kind ? "polite" : "off");
  state.className = kind || "";
  state.textContent = text;
}

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  if (paused) say("Paused.");
  else refresh();
});
document.addEventListener("visibilitychange", refresh);
addEventListener("hashchange", async () => {
  await drawTrace();
  if (!at("trace").hidden) at("trace-title").focus();
});
drawTrace();
refresh();
