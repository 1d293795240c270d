// The page: one dashboard, drawn from the file that Grafana has too, and drawn anew as often as it says.
import "uplot/dist/uPlot.min.css";
import "./style.css";
import type * as api from "../api";
import { Blame, OF_API } from "./blame";
import { control, times } from "./controls";
import { at, el } from "./dom";
import { drawBars, drawStat, drawTable, drawText } from "./figures";
import { drawGraph } from "./graph";
import { drawHeat } from "./heat";
import { drawLines } from "./lines";
import type { Context, Draw, Mark } from "./panel";
import { addressOf, ask, logout } from "./server";
import { address, asked, EVENTS, read, TAIL, type State } from "./state";
import { Tail } from "./tail";
import { interval, range, step, type Shown } from "./time";
import { drawWaterfall } from "./waterfall";
import { moment, zone } from "./units";

const KINDS: Record<api.PanelKind, Draw> = {
  timeseries: drawLines, stat: drawStat, table: drawTable, bargauge: drawBars, heatmap: drawHeat, nodeGraph: drawGraph, traces: drawWaterfall, text: drawText,
};

/** When it is tried again where something failed and nothing is drawn anew otherwise, in milliseconds. */
const AFTER_FAILURE = 10_000;

/** Where a link without a dashboard leads. */
const FIRST = "weir-fleet";

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Links to all events that match. */
function allEvents(state: State, { from, to }: Shown): HTMLElement[] {
  const file = (format: string, text: string) => el("a", { class: "file", download: "", href: addressOf("/api/v1/events", { format, from, to, var: asked(state) }) }, text);
  return [file("csv", "all as CSV"), file("ndjson", "all as JSON lines"), el("a", { class: "file", href: address({ ...state, path: TAIL }) }, "as they arrive")];
}

/** A panel on the page. */
class Tile {
  readonly root: HTMLElement;
  private readonly body = el("div", { class: "body" });
  private readonly problem = el("p", { class: "problem", role: "status" });
  /** The rows as a file: of tables. */
  private readonly file = el("a", { class: "file", download: "" }, "CSV");
  /** All events that match, and the same as they arrive: of the list of events. */
  private readonly all = el("span", { class: "files" });
  private gone: (() => void) | void = undefined;
  private hasFigures = false;

  constructor(readonly panel: api.Panel) {
    const { x, y, w, h } = panel.gridPos;
    const about = el("details", { class: "about" }, el("summary", { "aria-label": `about ${panel.title}` }, "?"), el("p", {}, panel.description));
    this.problem.hidden = true;
    this.file.hidden = true;
    this.root = el("section", { class: `panel ${panel.type}`, id: `panel-${panel.id}`, "aria-labelledby": `title-${panel.id}` },
      el("header", {}, el("h2", { id: `title-${panel.id}` }, panel.title), this.file, this.all, about), this.problem, this.body);
    this.root.style.gridColumn = `${x + 1} / span ${w}`;
    this.root.style.gridRow = `${y + 1} / span ${h}`;
    this.root.style.setProperty("--rows", String(h));
  }

  async draw(page: Page, marks: Promise<Mark[]>, shown: Shown, signal: AbortSignal): Promise<void> {
    const { state } = page;
    this.root.setAttribute("aria-busy", "true");
    try {
      const query = { id: state.uid, panel: this.panel.id, from: shown.from, to: shown.to, step: step(shown, this.body.clientWidth), var: asked(state) };
      this.file.hidden = this.panel.type !== "table";
      this.file.href = addressOf("/api/v1/dashboards/{id}/panel", { ...query, format: "csv" });
      if (this.panel.type === "table" && this.panel.title === "Events" && state.uid === EVENTS) this.all.replaceChildren(...allEvents(state, shown));
      const frames = await Promise.all(this.panel.targets.map(({ refId }) => ask("/api/v1/dashboards/{id}/panel", { ...query, target: refId }, signal)));
      const happened = this.panel.type === "timeseries" ? await marks : [];
      if (signal.aborted) return;
      const context: Context = { panel: this.panel, frames, marks: happened, state, zoom: (from, to) => page.change((next) => void Object.assign(next, { from: String(from), to: String(to) })) };
      if (this.gone) this.gone();
      this.gone = KINDS[this.panel.type](this.body, context);
      this.hasFigures = true;
      this.problem.hidden = true;
      this.root.dataset.drawn = String(Number(this.root.dataset.drawn ?? 0) + 1);
    } catch (error) {
      if (signal.aborted) return;
      this.problem.textContent = (this.hasFigures ? "The figures below are old: " : "") + messageOf(error);
      this.problem.hidden = false;
      throw error;
    } finally {
      if (!signal.aborted) this.root.removeAttribute("aria-busy");
    }
  }
}

class Page {
  private readonly tiles: Tile[];
  private readonly known = new Map<string, string[]>();
  private round = new AbortController();
  private timer = 0;
  private readonly tail: Tail | undefined;
  private readonly blame: Blame | undefined;

  constructor(private readonly dashboard: api.Dashboard, public state: State) {
    this.tail = state.path === TAIL ? new Tail() : undefined;
    this.tiles = this.tail ? [] : dashboard.panels.map((panel) => new Tile(panel));
    const end = Math.max(0, ...dashboard.panels.map(({ gridPos: { y, h } }) => y + h));
    this.blame = dashboard.uid === OF_API ? new Blame(end) : undefined;
    const more = [this.tail, this.blame].flatMap((one) => (one ? [one.root] : []));
    at("panels").replaceChildren(...this.tiles.map((tile) => tile.root), ...more);
    const title = this.tail ? "Tail" : dashboard.title.replace(/^Weir \/ /, "");
    document.title = this.tail ? `Weir / ${title}` : dashboard.title;
    at("title").textContent = title;
    at("about").textContent = dashboard.description;
  }

  /** Another state, under an address of its own. */
  change(edit: (state: State) => void) {
    edit(this.state);
    history.pushState(null, "", address(this.state));
    this.refresh(true);
  }

  /** Draws everything anew; with `all` the values of variables too. */
  async refresh(all: boolean) {
    clearTimeout(this.timer);
    this.round.abort();
    this.round = new AbortController();
    const { signal } = this.round;
    const shown = range(this.state.from, this.state.to, Date.now());
    if (all) this.controls(shown);
    if (all) this.tail?.begin(this.state);
    at("shown").textContent = this.tail ? `as they arrive (${zone()})` : `${moment(shown.from)} to ${moment(shown.to)} (${zone()})`;
    const marks = this.marks(shown, signal);
    const drawn = await Promise.allSettled([...(all ? [this.values(shown, signal)] : []), ...this.tiles.map((tile) => tile.draw(this, marks, shown, signal)), ...(this.blame ? [this.blame.draw(this.state, shown, signal)] : [])]);
    if (signal.aborted) return;
    const failed = drawn.filter((one) => one.status === "rejected");
    say(failed.length ? `${failed.length} of ${this.tiles.length} panels could not be drawn: ${messageOf(failed[0].reason)}` : `drawn at ${moment(Date.now())}`, failed.length > 0);
    document.body.dataset.rounds = String(Number(document.body.dataset.rounds ?? 0) + 1);
    this.later((this.tail ? 0 : interval(this.state.refresh)) || (failed.length ? AFTER_FAILURE : 0));
  }

  /** Ends what is under way: another page takes its place. */
  stop() {
    clearTimeout(this.timer);
    this.round.abort();
    this.tail?.end();
  }

  private later(every: number) {
    if (every) this.timer = window.setTimeout(() => (document.hidden ? this.later(every) : this.refresh(false)), every);
  }

  private controls(shown: Shown) {
    const change = (edit: (state: State) => void) => this.change(edit);
    const open = document.querySelector<HTMLElement>("#variables details[open]")?.dataset.variable;
    const variables = this.dashboard.templating.list.filter((variable) => variable.type !== "datasource" && variable.hide !== 2);
    at("variables").replaceChildren(...variables.map((variable) => control(variable, this.state.values.get(variable.name) ?? [], this.known.get(variable.name) ?? [], change)));
    document.querySelector(`#variables details[data-variable="${open}"]`)?.setAttribute("open", "");
    at("times").replaceChildren(...(this.tail ? [] : times(this.state, shown, change)));
  }

  private async values(shown: Shown, signal: AbortSignal) {
    const queries = this.dashboard.templating.list.filter((variable) => variable.type === "query");
    await Promise.all(queries.map(async ({ name }) => {
      const { values } = await ask("/api/v1/dashboards/{id}/variable", { id: this.state.uid, name, from: shown.from, to: shown.to, var: asked(this.state) }, signal);
      this.known.set(name, values);
    }));
    this.controls(shown);
  }

  private async marks(shown: Shown, signal: AbortSignal): Promise<Mark[]> {
    const kinds = this.dashboard.annotations.list.filter((one) => one.enable);
    if (!this.tiles.some((tile) => tile.panel.type === "timeseries")) return [];
    const found = await Promise.allSettled(kinds.map(({ name }) => ask("/api/v1/dashboards/{id}/annotation", { id: this.state.uid, name, from: shown.from, to: shown.to, var: asked(this.state) }, signal)));
    const marks = found.flatMap((one) => (one.status === "fulfilled" ? one.value.rows.map((row) => ({ ms: Date.parse(String(row[0])), text: String(row[1]) })) : []));
    at("marks").textContent = marks.length ? `◆ ${marks.length} configuration changes` : "";
    at("marks").title = marks.map((mark) => `${moment(mark.ms)} ${mark.text}`).join("\n");
    return marks;
  }
}

/** What the page does. Only what is wrong is announced. */
function say(text: string, wrong: boolean) {
  const state = at("state");
  state.setAttribute("aria-live", wrong ? "polite" : "off");
  state.className = wrong ? "red" : "soft";
  state.textContent = text;
}

function theme() {
  const button = at("theme");
  const use = (name: string) => {
    document.documentElement.dataset.theme = name;
    button.textContent = name;
  };
  const names = ["system", "light", "dark"];
  const kept = localStorage.getItem("weir-theme");
  use(kept !== null && names.includes(kept) ? kept : "system");
  button.addEventListener("click", () => {
    const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % names.length];
    localStorage.setItem("weir-theme", next);
    use(next);
    page?.refresh(false);
  });
}

/** Who looks, where that is asked. */
async function reader() {
  const { name, role, organizations, environments } = await ask("/api/v1/reader", {});
  const button = at("logout");
  button.hidden = name === "";
  const shown = (names: string[] | null, all: string) => names?.join(", ") ?? all;
  button.textContent = `log out ${name}`;
  button.title = `${role}: ${shown(organizations, "all organizations")}; ${shown(environments, "all environments")}`;
}

let page: Page | undefined;

async function start() {
  const isTail = location.pathname === TAIL;
  const uid = isTail ? EVENTS : (/^\/d\/([^/]+)/.exec(location.pathname)?.[1] ?? FIRST);
  try {
    const [list, dashboard] = await Promise.all([ask("/api/v1/dashboards", {}), ask("/api/v1/dashboards/{id}", { id: uid })]);
    at("nav").replaceChildren(...list.rows.map((row) => el("a", { href: `/d/${row.uid}`, title: row.description, "aria-current": row.uid === uid && !isTail ? "page" : undefined }, row.title.replace(/^Weir \/ /, ""))), el("a", { href: TAIL, title: "single events as they arrive", "aria-current": isTail ? "page" : undefined }, "Tail"), el("a", { href: "/live", title: "the last hour, the gateways and the ledger, as they go on" }, "Live"));
    page?.stop();
    page = new Page(dashboard, read(dashboard, new URL(location.href)));
    await page.refresh(true);
  } catch (error) {
    say(`The dashboard cannot be shown: ${messageOf(error)}. It is tried again in 5 s.`, true);
    setTimeout(start, 5000);
  }
}

addEventListener("popstate", () => start());
at("logout").addEventListener("click", () => logout());
at("again").addEventListener("click", () => page?.refresh(true));
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) page?.refresh(false);
});
theme();
start();
reader().catch(() => undefined);
