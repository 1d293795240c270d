// Events as they arrive: what matches the variables of the Events dashboard, asked for again and again, the newest first.
import type * as api from "../api";
import { el } from "./dom";
import { ask } from "./server";
import { asked, type State } from "./state";
import { moment, written } from "./units";

/** How often it is asked, in milliseconds. */
const EVERY = 2000;
/** What of the time before is shown at first, in milliseconds. */
const BEFORE = 15 * 60_000;
/** Rows of one answer, and rows that are shown. */
const LIMIT = 200;
const SHOWN = 500;
/** Events are stored in another order than they are received in: by how much, in milliseconds. */
const OVERLAP = 15_000;
/** Names of events that are remembered, so that none is shown twice. */
const REMEMBERED = 20_000;

const COLUMNS = ["time", "site", "gateway", "api", "route", "consumer", "method", "path", "status", "reason", "fault of", "total", "trace"];

const chain = (trace: string) => `/d/weir-chain?${new URLSearchParams({ "var-trace": trace })}`;
const events = (trace: string) => `/d/weir-events?${new URLSearchParams({ "var-trace": trace })}`;

/** A line of the table. */
function line(event: api.EventLine): HTMLTableRowElement {
  const level = event.status >= 500 ? "red" : event.status >= 400 ? "orange" : "";
  const trace = event.trace_id;
  const text = (value: string) => el("td", {}, value || "–");
  return el("tr", { "data-trace": trace }, text(moment(event.ts_us / 1000)), text(event.site), text(event.gateway), text(event.api), text(event.route), text(event.consumer),
    text(event.method), text(event.path), el("td", { class: `n ${level}` }, String(event.status)), text(event.reason), text(event.side),
    el("td", { class: "n" }, written(event.total_us, "µs", 1)), el("td", {}, el("a", { href: events(trace) }, trace.slice(0, 8)), " ", el("a", { href: chain(trace), class: "more" }, "its way")));
}

export class Tail {
  readonly root: HTMLElement;
  private readonly body = el("tbody");
  private readonly said = el("span", { class: "soft", role: "status" });
  private readonly pause = el("button", { type: "button", id: "pause", "aria-pressed": "false" }, "pause");
  private known = new Set<string>();
  private newest = 0;
  private timer = 0;
  private round = new AbortController();

  constructor() {
    const heads = COLUMNS.map((name) => el("th", { scope: "col" }, name));
    this.root = el("section", { class: "panel table tail", id: "tail", "aria-labelledby": "title-tail" },
      el("header", {}, el("h2", { id: "title-tail" }, "Events as they arrive"), this.said, this.pause),
      el("div", { class: "body" }, el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "events, the newest first" },
        el("table", {}, el("thead", {}, el("tr", {}, ...heads)), this.body))));
    this.pause.addEventListener("click", () => this.pause.setAttribute("aria-pressed", String(!this.isPaused())));
  }

  private isPaused(): boolean {
    return this.pause.getAttribute("aria-pressed") === "true";
  }

  /** Shows what matches now, and goes on with it. */
  begin(state: State) {
    this.end();
    this.round = new AbortController();
    this.known.clear();
    this.newest = 0;
    this.body.replaceChildren();
    this.poll(state, this.round.signal);
  }

  end() {
    clearTimeout(this.timer);
    this.round.abort();
  }

  private async poll(state: State, signal: AbortSignal) {
    if (!this.isPaused() && !document.hidden) {
      try {
        const since = this.newest ? { received: Math.max(0, this.newest - OVERLAP) } : {};
        const { rows } = await ask("/api/v1/events", { from: Date.now() - BEFORE, limit: LIMIT, var: asked(state), ...since }, signal);
        if (!signal.aborted) this.add(rows);
      } catch (error) {
        if (signal.aborted) return;
        this.say(`What is below is old: ${error instanceof Error ? error.message : error}`, true);
      }
    }
    if (!signal.aborted) this.timer = window.setTimeout(() => this.poll(state, signal), EVERY);
  }

  private add(rows: api.EventLine[]) {
    const name = (row: api.EventLine) => `${row.stream}/${row.seq}`;
    const fresh = rows.filter((row) => !this.known.has(name(row)));
    const more = this.newest > 0 && rows.length === LIMIT && fresh.length === LIMIT;
    for (const row of fresh) {
      this.known.add(name(row));
      this.newest = Math.max(this.newest, row.received_ms);
    }
    for (const old of [...this.known].slice(0, Math.max(0, this.known.size - REMEMBERED))) this.known.delete(old);
    this.body.prepend(...fresh.map(line));
    while (this.body.rows.length > SHOWN) this.body.deleteRow(SHOWN);
    const count = this.body.rows.length;
    this.say(more ? `more arrive than ${LIMIT} in ${EVERY / 1000} s: some are left out` : count ? `${count} shown, ${SHOWN} at most` : `nothing in the last ${BEFORE / 60_000} minutes`, more);
    this.root.dataset.drawn = String(Number(this.root.dataset.drawn ?? 0) + 1);
  }

  private say(text: string, wrong: boolean) {
    this.said.className = wrong ? "red" : "soft";
    this.said.textContent = text;
  }
}
