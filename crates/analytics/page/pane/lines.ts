// A panel of lines over time, by uPlot.
import uPlot from "uplot";
import type * as api from "../api";
import { el, painted } from "./dom";
import { nothing, shownAs, type Context, type Draw } from "./panel";
import { moment, written } from "./units";

interface Line {
  name: string;
  values: (number | null)[];
}

/** The times of a frame in seconds, and a line for each set of names and each column of numbers. */
export function wide(frame: api.Frame): { times: number[]; lines: Line[] } {
  const of = (kind: api.ColumnKind) => frame.columns.flatMap((column, index) => (column.kind === kind ? [index] : []));
  const [time] = of("time");
  const [names, numbers] = [of("text"), of("number")];
  const found = [...new Set(frame.rows.map((row) => Date.parse(String(row[time])) / 1000))].sort((a, b) => a - b);
  const times = withGaps(found);
  const place = new Map(times.map((at, index) => [at, index]));
  const lines = new Map<string, Line>();
  for (const row of frame.rows) {
    const index = place.get(Date.parse(String(row[time])) / 1000);
    if (index === undefined) continue;
    for (const number of numbers) {
      const parts = names.map((name) => String(row[name]));
      const name = [...parts, ...(numbers.length > 1 || !parts.length ? [frame.columns[number].name.replaceAll("_", " ")] : [])].join(" ");
      let line = lines.get(name);
      if (!line) lines.set(name, (line = { name, values: times.map(() => null) }));
      const value = row[number];
      line.values[index] = typeof value === "number" ? value : null;
    }
  }
  return { times, lines: [...lines.values()] };
}

/** A time without rows between two with rows is a gap, not a line. */
function withGaps(times: number[]): number[] {
  const steps = times.slice(1).map((at, index) => at - times[index]);
  const step = Math.min(...steps);
  return times.flatMap((at, index) => (index > 0 && at - times[index - 1] > 1.5 * step ? [times[index - 1] + step, at] : [at]));
}

const PALETTE = ["line-1", "line-2", "line-3", "line-4", "line-5", "line-6", "line-7", "line-8"];

/** Each line upon those below it. */
function stacked(lines: Line[]): Line[] {
  const sums = lines[0]?.values.map(() => 0) ?? [];
  return lines.map((line) => ({ name: line.name, values: line.values.map((value, index) => (value === null ? null : (sums[index] += value))) }));
}

export const drawLines: Draw = (body, context) => {
  const frame = context.frames[0];
  const { times, lines } = wide(frame);
  if (!lines.length) return void body.replaceChildren(nothing(context.panel));
  const style = context.panel.fieldConfig.defaults.custom;
  const isStacked = style?.stacking.mode === "normal";
  const drawn = isStacked ? stacked(lines) : lines;
  const order = isStacked ? drawn.map((_, index) => drawn.length - 1 - index) : drawn.map((_, index) => index);
  const holder = el("div", { class: "chart" });
  body.replaceChildren(holder);
  const shown = shownAs(context.panel, "");
  const size = () => ({ width: Math.max(160, holder.clientWidth), height: Math.max(60, body.clientHeight - legendHeight(holder)) });
  const series = order.map((index): uPlot.Series => {
    const stroke = painted(PALETTE[index % PALETTE.length]);
    return {
      label: lines[index].name,
      stroke,
      width: style?.lineWidth ?? 1,
      fill: style?.fillOpacity ? stroke.replace("rgb(", "rgba(").replace(")", `, ${style.fillOpacity / 100})`) : undefined,
      paths: style?.drawStyle === "bars" ? uPlot.paths.bars?.() : undefined,
      points: { show: times.length < 40, size: 4 },
      value: (_, __, ___, at) => written(at === null ? null : lines[index].values[at], shown.unit, shown.decimals),
    };
  });
  const chart = new uPlot(options(context, series, size()), [times, ...order.map((index) => drawn[index].values)], holder);
  const watch = new ResizeObserver(() => chart.setSize(size()));
  watch.observe(body);
  requestAnimationFrame(() => chart.setSize(size()));
  return () => {
    watch.disconnect();
    chart.destroy();
  };
};

const legendHeight = (holder: HTMLElement) => holder.querySelector<HTMLElement>(".u-legend")?.offsetHeight ?? 24;

function options(context: Context, series: uPlot.Series[], size: { width: number; height: number }): uPlot.Options {
  const frame = context.frames[0];
  const { min, unit, decimals } = context.panel.fieldConfig.defaults;
  const axis = { stroke: painted("soft"), grid: { stroke: painted("line"), width: 1 }, ticks: { stroke: painted("line"), width: 1 }, font: "11px system-ui, sans-serif" };
  return {
    ...size,
    series: [{ value: (_, at) => (at === null || at === undefined ? "" : moment(at * 1000)) }, ...series],
    scales: {
      x: { range: [frame.from_ms / 1000, frame.to_ms / 1000] },
      y: { range: (_, low, high) => [Math.min(min ?? low, low ?? 0), high && high > (min ?? low ?? 0) ? high * 1.08 : (min ?? 0) + 1] },
    },
    axes: [
      { ...axis, space: 70, values: (_, splits, __, ___, step) => splits.map((at) => tick(at, step)) },
      { ...axis, size: 64, values: (_, splits) => splits.map((value) => written(value, unit, decimals)) },
    ],
    cursor: { sync: { key: "pane" }, drag: { x: true, y: false, setScale: false }, focus: { prox: 16 } },
    focus: { alpha: 0.4 },
    legend: { show: context.panel.options.legend?.showLegend !== false },
    hooks: {
      setSelect: [(chart) => {
        if (chart.select.width < 8) return;
        const [from, to] = [chart.select.left, chart.select.left + chart.select.width].map((x) => Math.round(chart.posToVal(x, "x") * 1000));
        context.zoom(from, to);
      }],
      draw: [(chart) => marks(chart, context)],
    },
  };
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "2-digit" });

/** The label of the time axis at `at` (seconds), where labels are `step` seconds apart. */
function tick(at: number, step: number): string {
  if (step >= 86400) return day.format(at * 1000);
  return (step < 60 ? seconds : clock).format(at * 1000);
}

/** What happened, as lines from top to bottom. */
function marks(chart: uPlot, context: Context) {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.strokeStyle = painted("purple");
  ctx.setLineDash([4, 4]);
  for (const mark of context.marks) {
    const x = chart.valToPos(mark.ms / 1000, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}
