// Panels of figures: one large one, a table, bars, and text.
import type * as api from "../api";
import { el } from "./dom";
import { cell, levelOf, nothing, shownAs, valueWithLinks, type Context, type Draw } from "./panel";
import { link } from "./state";
import { moment, written } from "./units";

/** The last row of the first column of numbers. */
function lastValue(frame: api.Frame): number | null {
  const column = frame.columns.findIndex((one) => one.kind === "number");
  const value = frame.rows.map((row) => row[column]).findLast((one) => typeof one === "number");
  return typeof value === "number" ? value : null;
}

export const drawStat: Draw = (body, { panel, frames: [frame], state }) => {
  const value = lastValue(frame);
  if (value === null) return void body.replaceChildren(nothing(panel));
  const shown = shownAs(panel, "");
  const level = panel.options.colorMode === "none" ? null : levelOf(value, shown.thresholds);
  const figure = el("span", { class: `figure ${level ?? ""}`, "data-value": value }, written(value, shown.unit, shown.decimals));
  const [first] = panel.links ?? [];
  const href = first && link(first.url, state, () => "");
  body.replaceChildren(el("div", { class: "stat" }, href ? el("a", { href, title: first.title }, figure) : figure,
    el("span", { class: "soft" }, `since ${moment(frame.from_ms)}`)));
};

/** Which column a table is sorted by, and which way: kept while the page is open. */
const sorted = new Map<string, { column: number; down: boolean }>();

export const drawTable: Draw = (body, context) => {
  const { panel, frames: [frame] } = context;
  if (!frame.rows.length) return void body.replaceChildren(nothing(panel));
  const key = `${context.state.uid}/${panel.id}`;
  const shown = frame.columns.map((column) => {
    const own = shownAs(panel, column.name);
    return column.kind === "time" && own.unit === "string" ? { ...own, unit: "dateTimeAsIso" } : own;
  });
  const by = sorted.get(key);
  const rows = by ? [...frame.rows].sort((a, b) => compared(a[by.column], b[by.column]) * (by.down ? -1 : 1)) : frame.rows;
  const heads = frame.columns.map((column, index) => {
    const button = el("button", { type: "button", class: "sort" }, shown[index].name);
    button.addEventListener("click", () => {
      sorted.set(key, { column: index, down: by?.column === index ? !by.down : column.kind === "number" });
      drawTable(body, context);
    });
    const way = by?.column === index ? (by.down ? "descending" : "ascending") : undefined;
    return el("th", { scope: "col", class: column.kind === "number" ? "n" : "", "aria-sort": way }, button);
  });
  const lines = rows.map((row) => el("tr", {}, ...row.map((value, index) => {
    const level = shown[index].coloured ? levelOf(value, shown[index].thresholds) : null;
    return el("td", { class: [frame.columns[index].kind === "number" ? "n" : "", level ?? ""].join(" ").trim(), "data-column": frame.columns[index].name },
      ...valueWithLinks(value, shown[index], context.state, cell(frame, row)));
  })));
  body.replaceChildren(el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": `rows of ${panel.title}` },
    el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...lines))));
};

function compared(a: unknown, b: unknown): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a ?? "").localeCompare(String(b ?? ""));
}

export const drawBars: Draw = (body, { panel, frames: [frame] }) => {
  const number = frame.columns.findIndex((column) => column.kind === "number");
  const name = frame.columns.findIndex((column) => column.kind === "text");
  if (!frame.rows.length || number < 0) return void body.replaceChildren(nothing(panel));
  const shown = shownAs(panel, "");
  const rows = frame.rows.slice(0, panel.options.reduceOptions?.limit ?? 25);
  const most = panel.fieldConfig.defaults.max ?? Math.max(...rows.map((row) => Number(row[number])));
  const bars = rows.map((row) => {
    const value = Number(row[number]);
    const bar = el("div", { class: `bar ${levelOf(value, shown.thresholds) ?? ""}` });
    bar.style.width = `${most > 0 ? (100 * value) / most : 0}%`;
    return el("li", {}, el("span", { class: "name" }, String(row[name] ?? "")), el("div", { class: "track" }, bar),
      el("span", { class: "n" }, written(value, shown.unit, shown.decimals)));
  });
  body.replaceChildren(el("ul", { class: "bars scroll", tabindex: 0, "aria-label": panel.title }, ...bars));
};

/** Markdown, as far as it is used: paragraphs, lists, **bold**, `code`, and links to dashboards. */
export const drawText: Draw = (body, { panel }: Context) => {
  const inline = (text: string): Node[] => text.split(/(\*\*[^*]+\*\*|`[^`]+`|\[[^\]]+\]\(\/d\/[^)]+\))/).map((part) => {
    const bold = /^\*\*(.+)\*\*$/.exec(part);
    const code = /^`(.+)`$/.exec(part);
    const to = /^\[(.+)\]\((\/d\/.+)\)$/.exec(part);
    if (bold) return el("strong", {}, bold[1]);
    if (code) return el("code", {}, code[1]);
    return to ? el("a", { href: to[2] }, to[1]) : document.createTextNode(part);
  });
  const blocks = (panel.options.content ?? "").split(/\n{2,}/).map((block) => {
    const items = block.split("\n").filter((line) => line.startsWith("- "));
    return items.length ? el("ul", {}, ...items.map((item) => el("li", {}, ...inline(item.slice(2))))) : el("p", {}, ...inline(block));
  });
  body.replaceChildren(...blocks);
};
