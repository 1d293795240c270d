// What changed when an API got worse: below the panels of the API dashboard, for the one API that is chosen.
import type * as api from "../api";
import { el } from "./dom";
import { ask } from "./server";
import { ALL, asked, type State } from "./state";
import type { Shown } from "./time";
import { moment, written } from "./units";

/** The dashboard that it belongs to. */
export const OF_API = "weir-api";
/** Below it a p-value is marked. */
const SIGNIFICANT = 0.01;

const ABOUT = "Each gateway's traffic of this API after it began to serve another generation of its configuration or another version, beside that before. "
  + "Errors are compared by a two-proportion z-test, or Fisher's exact test where they are few; durations by a Kolmogorov-Smirnov test on buckets 9 % wide. "
  + "p is corrected for the number of comparisons. It says what happened at the same time, not why; requests that fail together make it smaller than it should be.";

const HEADS = ["gateway", "changed at", "generation", "version", "requests", "errors before", "after", "p", "95th percentile before", "after", "p"];
/** From this column on they are numbers. */
const NUMBERS = 4;

const share = ({ failed, requests }: api.BlameSide) => `${written(requests ? failed / requests : null, "percentunit")} (${failed})`;
const change = (before: string | number, after: string | number) => (before === after ? String(after || "–") : `${before || "–"} → ${after || "–"}`);

function chance(test: { adjusted_p: number } | null): HTMLElement {
  if (!test) return el("td", { class: "n" }, "–");
  const p = test.adjusted_p;
  return el("td", { class: p < SIGNIFICANT ? "n orange" : "n" }, p < 0.001 ? "< 0.001" : p.toFixed(3));
}

function line({ site, gateway, at_ms, before, after, errors, times }: api.BlameChange): HTMLElement {
  const number = (text: string) => el("td", { class: "n" }, text);
  const p95 = (side: api.BlameSide) => number(written(side.p95_us, "µs", 1));
  return el("tr", {}, el("td", {}, `${site}/${gateway}`), el("td", {}, moment(at_ms)), el("td", {}, change(before.generation, after.generation)), el("td", {}, change(before.version, after.version)),
    number(`${before.requests} → ${after.requests}`), number(share(before)), number(share(after)), chance(errors), p95(before), p95(after), chance(times));
}

export class Blame {
  readonly root: HTMLElement;
  private readonly body = el("div", { class: "body" });

  /** Its first row of the grid. */
  constructor(row: number) {
    const about = el("details", { class: "about" }, el("summary", { "aria-label": "about what changed when it got worse" }, "?"), el("p", {}, ABOUT));
    this.root = el("section", { class: "panel table blame", id: "blame", "aria-labelledby": "title-blame" },
      el("header", {}, el("h2", { id: "title-blame" }, "What changed when it got worse"), about), this.body);
    this.root.style.gridColumn = "1 / -1";
    this.root.style.gridRow = `${row + 1} / span 8`;
  }

  async draw(state: State, shown: Shown, signal: AbortSignal): Promise<void> {
    const chosen = state.values.get("api") ?? [];
    if (chosen.length !== 1 || chosen[0] === ALL) {
      this.body.replaceChildren(el("p", { class: "nothing" }, "Choose one API above."));
    } else {
      this.root.setAttribute("aria-busy", "true");
      try {
        const found = await ask("/api/v1/blame", { from: shown.from, to: shown.to, var: asked(state) }, signal);
        if (!signal.aborted) this.show(found);
      } catch (error) {
        if (!signal.aborted) this.body.replaceChildren(el("p", { class: "problem" }, error instanceof Error ? error.message : String(error)));
        throw error;
      } finally {
        this.root.removeAttribute("aria-busy");
      }
    }
    this.root.dataset.drawn = String(Number(this.root.dataset.drawn ?? 0) + 1);
  }

  private show({ sentence, changes, found }: api.Blame) {
    const more = found > changes.length ? [el("p", { class: "soft" }, `${changes.length} of ${found} changes`)] : [];
    const table = el("table", {}, el("thead", {}, el("tr", {}, ...HEADS.map((head, index) => el("th", { scope: "col", class: index < NUMBERS ? "" : "n" }, head)))), el("tbody", {}, ...changes.map(line)));
    this.body.replaceChildren(el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "changes and what was before and after them" }, el("p", { class: "sentence" }, `${sentence}.`), ...(changes.length ? [table] : []), ...more));
  }
}
