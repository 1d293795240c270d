// What the panels share: the context that they are drawn in, how a column is shown, and thresholds.
import type * as api from "../api";
import { el } from "./dom";
import { link, type State } from "./state";
import { written } from "./units";

export interface Context {
  panel: api.Panel;
  frames: api.Frame[];
  marks: Mark[];
  state: State;
  /** Has another time shown. */
  zoom(from: number, to: number): void;
}

/** Something that happened, for charts over time. */
export interface Mark {
  ms: number;
  text: string;
}

/** Draws into `body`. What it answers is called before the panel is drawn anew or goes. */
export type Draw = (body: HTMLElement, context: Context) => (() => void) | void;

export interface Shown {
  unit: string;
  decimals?: number;
  name: string;
  thresholds?: api.Thresholds;
  links: api.Link[];
  coloured: boolean;
}

/** How a column is shown: the panel's own way, and what is said of the column. */
export function shownAs(panel: api.Panel, column: string): Shown {
  const { unit, decimals, thresholds } = panel.fieldConfig.defaults;
  const shown: Shown = { unit, decimals, thresholds, name: column.replaceAll("_", " ").trim(), links: [], coloured: false };
  for (const { matcher, properties } of panel.fieldConfig.overrides) {
    if (matcher.options !== column) continue;
    for (const property of properties) {
      if (property.id === "unit") shown.unit = property.value;
      else if (property.id === "decimals") shown.decimals = property.value;
      else if (property.id === "displayName") shown.name = property.value;
      else if (property.id === "thresholds") shown.thresholds = property.value;
      else if (property.id === "links") shown.links = property.value;
      else if (property.id === "custom.cellOptions") shown.coloured = property.value.type === "color-text";
    }
  }
  return shown;
}

/** The name of the colour that a value has. */
export function levelOf(value: unknown, thresholds: api.Thresholds | undefined): api.Colour | null {
  if (typeof value !== "number" || !thresholds) return null;
  return thresholds.steps.findLast((step) => step.value === null || value >= step.value)?.color ?? null;
}

/** What is said in place of figures. */
export const nothing = (panel: api.Panel): HTMLElement => el("p", { class: "nothing" }, panel.fieldConfig.defaults.noValue ?? "no data");

/** The cell of a row in a column of that name. */
export const cell = (frame: api.Frame, row: unknown[]) => (name: string): unknown => row[frame.columns.findIndex((column) => column.name === name)];

const SHORT = 90;

/** A value with its links. */
export function valueWithLinks(value: unknown, shown: Shown, state: State, row: (name: string) => unknown): Node[] {
  const text = written(value, shown.unit, shown.decimals);
  const letters = Array.from(text);
  const short = letters.length > SHORT ? letters.slice(0, SHORT).join("") + "…" : text;
  const full = short === text ? undefined : text;
  const [first, ...others] = shown.links.map((one) => [one.title, link(one.url, state, row)] as const).filter(([, href]) => href);
  if (!first || text === "–") return [el("span", { title: full }, short)];
  const more = others.flatMap(([title, href]) => [document.createTextNode(" "), el("a", { href, class: "more" }, title)]);
  return [el("a", { href: first[1], title: full ?? first[0] }, short), ...more];
}
