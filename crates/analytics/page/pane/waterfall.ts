// The spans of a trace: each under its parent, on one axis of time.
import type * as api from "../api";
import { el } from "./dom";
import { cell, nothing, type Draw } from "./panel";
import { link } from "./state";
import { moment, written } from "./units";

interface Span {
  id: string;
  parent: string;
  service: string;
  operation: string;
  start: number;
  duration: number;
  tags: [string, string][];
}

function spansOf(frame: api.Frame): Span[] {
  return frame.rows.map((row) => {
    const of = cell(frame, row);
    const tags = (of("tags") as { key: string; value: string }[] | null) ?? [];
    return {
      id: String(of("spanID")), parent: String(of("parentSpanID")), service: String(of("serviceName")), operation: String(of("operationName")),
      start: Number(of("startTime")), duration: Number(of("duration")), tags: tags.map(({ key, value }): [string, string] => [key, value]),
    };
  });
}

/** Parents before their children, with the depth of each. */
export function ordered(spans: Span[]): { span: Span; depth: number }[] {
  const ids = new Set(spans.map((span) => span.id));
  const children = new Map<string, Span[]>();
  const roots: Span[] = [];
  for (const span of spans) {
    if (!ids.has(span.parent) || span.parent === span.id) roots.push(span);
    else children.set(span.parent, [...(children.get(span.parent) ?? []), span]);
  }
  const seen = new Set<string>();
  const below = (list: Span[], depth: number): { span: Span; depth: number }[] => [...list].sort((a, b) => a.start - b.start).flatMap((span) => {
    if (seen.has(span.id)) return [];
    seen.add(span.id);
    return [{ span, depth }, ...below(children.get(span.id) ?? [], depth + 1)];
  });
  return below(roots, 0);
}

export const drawWaterfall: Draw = (body, { panel, frames: [frame], state }) => {
  const spans = ordered(spansOf(frame));
  if (!spans.length) {
    const why = state.values.get("trace")?.[0] ? "No event of this trace is stored in the organizations and environments shown. It may be on its way: a gateway sends within seconds." : "Name a trace above, or follow the link of a request.";
    return void body.replaceChildren(nothing(panel), el("p", { class: "soft" }, why));
  }
  const begin = Math.min(...spans.map(({ span }) => span.start));
  const end = Math.max(...spans.map(({ span }) => span.start + span.duration));
  const all = Math.max(end - begin, 0.001);
  const rows = spans.map(({ span, depth }) => {
    const tag = (name: string) => span.tags.find(([key]) => key === name)?.[1] ?? "";
    const failed = Number(tag("status")) >= 500 || tag("failure") !== "" || ["upstream", "gateway"].includes(tag("fault of"));
    const bar = el("div", { class: `bar ${failed ? "red" : "blue"}` });
    bar.style.left = `${(100 * (span.start - begin)) / all}%`;
    bar.style.width = `${Math.max(0.3, (100 * span.duration) / all)}%`;
    const name = el("summary", {}, el("strong", {}, span.service), ` ${span.operation}`);
    const details = el("details", { class: "name" }, name, el("dl", {}, ...span.tags.filter(([, value]) => value && value !== "0").flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, value)])));
    details.style.paddingLeft = `${Math.min(depth, 12) * 0.9}rem`;
    return el("li", {}, details, el("div", { class: "track" }, bar), el("span", { class: "n" }, written(span.duration, "ms")));
  });
  const links = (panel.links ?? []).flatMap((one) => {
    const href = link(one.url, state, () => "");
    return href ? [" ", el("a", { href }, one.title)] : [];
  });
  body.replaceChildren(el("p", { class: "soft" }, `${spans.length} spans, ${written(all, "ms")} in all, from ${moment(begin)}.`, ...links), el("ol", { class: "waterfall scroll", tabindex: 0, "aria-label": panel.title }, ...rows));
};
