// What is above the panels: variables, the time shown, how often it is drawn anew.
import type * as api from "../api";
import { el } from "./dom";
import { ALL, type State } from "./state";
import type { Shown } from "./time";
import { moment } from "./units";

const RANGES: [string, string][] = [["now-5m", "last 5 minutes"], ["now-15m", "last 15 minutes"], ["now-1h", "last hour"], ["now-6h", "last 6 hours"], ["now-24h", "last 24 hours"], ["now-7d", "last 7 days"], ["now-30d", "last 30 days"]];
const REFRESHES: [string, string][] = [["", "off"], ["5s", "5 s"], ["10s", "10 s"], ["30s", "30 s"], ["1m", "1 min"], ["5m", "5 min"]];

type Change = (change: (state: State) => void) => void;

const option = (value: string, text: string, selected: boolean) => el("option", { value, selected }, text);

/** A choice of values, with a box for each and one for all. */
function several(variable: api.Variable, chosen: string[], known: string[], change: Change): HTMLElement {
  const all = chosen.includes(ALL);
  const said = all ? "all" : chosen.length > 2 ? `${chosen.length} chosen` : chosen.join(", ");
  const values = [...new Set([...known, ...chosen.filter((value) => value !== ALL)])];
  const picked = new Set(all ? [] : chosen);
  const box = (value: string, text: string, checked: boolean) => {
    const input = el("input", { type: "checkbox", checked });
    input.addEventListener("change", () => change((state) => {
      if (value === ALL) picked.clear();
      else if (input.checked) picked.add(value);
      else picked.delete(value);
      state.values.set(variable.name, picked.size ? [...picked] : [ALL]);
    }));
    return el("label", {}, input, " ", text);
  };
  const list = el("div", { class: "list" }, box(ALL, "all", all), ...values.map((value) => box(value, value, picked.has(value))));
  return el("details", { class: "choice", "data-variable": variable.name }, el("summary", {}, el("span", { class: "soft" }, variable.label), " ", said), list);
}

/** The control of a variable. */
export function control(variable: api.Variable, chosen: string[], known: string[], change: Change): HTMLElement {
  if (variable.type === "query") return several(variable, chosen, known, change);
  const set = (value: string) => change((state) => void state.values.set(variable.name, [value]));
  if (variable.type === "custom") {
    const choice = el("select", {}, ...(variable.options ?? []).map((one) => option(one.value, one.text, chosen[0] === one.value)));
    choice.addEventListener("change", () => set(choice.value));
    return el("label", { class: "choice", title: variable.description, "data-variable": variable.name }, el("span", { class: "soft" }, variable.label), " ", choice);
  }
  const input = el("input", { type: "text", value: chosen[0], size: 14, spellcheck: "false", autocomplete: "off" });
  input.addEventListener("change", () => set(input.value));
  return el("label", { class: "choice", title: variable.description, "data-variable": variable.name }, el("span", { class: "soft" }, variable.label), " ", input);
}

/** `ms` as a field for date and time takes it, in the viewer's zone. */
const local = (ms: number) => new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 19);

/** The controls of the time. */
export function times(state: State, shown: Shown, change: Change): HTMLElement[] {
  const own = RANGES.some(([from]) => from === state.from) && state.to === "now";
  const choice = el("select", { "aria-label": "time shown" }, ...(own ? [] : [option("", `${moment(shown.from)} to ${moment(shown.to)}`, true)]), ...RANGES.map(([from, text]) => option(from, text, own && from === state.from)));
  choice.addEventListener("change", () => change((next) => void Object.assign(next, { from: choice.value, to: "now" })));
  const [from, to] = [shown.from, shown.to].map((ms) => el("input", { type: "datetime-local", step: 1, value: local(ms) }));
  const apply = el("button", { type: "button" }, "show");
  apply.addEventListener("click", () => {
    const [begin, end] = [from, to].map((input) => Date.parse(input.value));
    if (begin < end) change((next) => void Object.assign(next, { from: String(begin), to: String(end) }));
  });
  const exact = el("details", { class: "choice" }, el("summary", {}, "from … to"), el("div", { class: "list" }, el("label", {}, "from ", from), el("label", {}, "to ", to), apply));
  const out = el("button", { type: "button", title: "twice as much time" }, "zoom out");
  out.addEventListener("click", () => {
    const half = (shown.to - shown.from) / 2;
    const end = Math.min(Date.now(), Math.round(shown.to + half));
    change((next) => void Object.assign(next, { from: String(Math.round(end - 4 * half)), to: String(end) }));
  });
  const every = el("select", {}, ...REFRESHES.map(([value, text]) => option(value, text, value === state.refresh)));
  every.addEventListener("change", () => change((next) => void (next.refresh = every.value)));
  return [choice, exact, out, el("label", { class: "choice" }, el("span", { class: "soft" }, "refresh"), " ", every)];
}
