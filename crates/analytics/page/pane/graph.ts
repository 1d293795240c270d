// Nodes and the edges between them, from left to right: who is called stands right of who calls.
import { svg } from "./dom";
import { cell, nothing, type Draw } from "./panel";

const [WIDTH, HEIGHT, R] = [230, 104, 26];

export const drawGraph: Draw = (body, { panel, frames: [nodes, edges] }) => {
  if (!nodes.rows.length) return void body.replaceChildren(nothing(panel));
  const texts = (frame: typeof nodes, row: unknown[]) => (name: string) => String(cell(frame, row)(name) ?? "");
  const links = edges.rows.map((row) => texts(edges, row)).map((of) => ({ source: of("source"), target: of("target"), said: [of("mainstat"), of("secondarystat")].filter(Boolean) }));
  const ids = nodes.rows.map((row) => texts(nodes, row)("id"));
  const columns = depths(ids, links);
  const inColumn = new Map<number, number>();
  const places = new Map(ids.map((id) => {
    const column = columns.get(id) ?? 0;
    const row = inColumn.get(column) ?? 0;
    inColumn.set(column, row + 1);
    return [id, { x: 60 + column * WIDTH, y: 44 + row * HEIGHT }];
  }));
  const width = 120 + Math.max(...columns.values()) * WIDTH + 60;
  const height = Math.max(...inColumn.values()) * HEIGHT + 10;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "graph", role: "img", "aria-label": `${panel.title}: ${links.map((one) => `${one.source} to ${one.target}, ${one.said.join(", ")}`).join("; ")}` });
  for (const one of links) {
    const [from, to] = [places.get(one.source), places.get(one.target)];
    if (!from || !to) continue;
    const middle = { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 };
    drawing.append(svg("path", { class: "edge", d: `M${from.x + R} ${from.y}C${middle.x} ${from.y} ${middle.x} ${to.y} ${to.x - R} ${to.y}` }));
    one.said.forEach((text, index) => drawing.append(svg("text", { x: middle.x, y: middle.y - 6 + index * 14, class: "label", "text-anchor": "middle" }, text)));
  }
  for (const row of nodes.rows) {
    const of = texts(nodes, row);
    const place = places.get(of("id"));
    if (!place) continue;
    const failed = Number(of("arc__failed")) || 0;
    const around = 2 * Math.PI * R;
    const { x, y } = place;
    drawing.append(svg("g", {}, svg("title", {}, `${of("title")} (${of("subtitle")}): ${of("mainstat")}, ${of("secondarystat")}, ${(100 * failed).toFixed(1)} % failed`),
      svg("circle", { cx: x, cy: y, r: R, class: "node" }),
      svg("circle", { cx: x, cy: y, r: R, class: "failed", "stroke-dasharray": `${failed * around} ${around}`, transform: `rotate(-90 ${x} ${y})` }),
      svg("text", { x, y: y + 4, class: "label strong", "text-anchor": "middle" }, of("mainstat")),
      svg("text", { x, y: y + R + 15, class: "label strong", "text-anchor": "middle" }, of("title")),
      svg("text", { x, y: y + R + 28, class: "label", "text-anchor": "middle" }, of("secondarystat"))));
  }
  body.replaceChildren(drawing);
};

/** How many steps each node is from one that nobody calls. A circle ends where it began. */
function depths(ids: string[], links: { source: string; target: string }[]): Map<string, number> {
  const found = new Map(ids.map((id) => [id, 0]));
  for (let round = 0; round < ids.length; round++) {
    let moved = false;
    for (const { source, target } of links) {
      const wanted = (found.get(source) ?? 0) + 1;
      if (source !== target && wanted > (found.get(target) ?? 0) && wanted < ids.length) {
        found.set(target, wanted);
        moved = true;
      }
    }
    if (!moved) break;
  }
  return found;
}
