// In the browser: panels as the page of weir-analytics draws them, and the same panels by Grafana's own components, from
// the same file and the same frame. `window.drawn` is what is to be read in each of them.
import {
  applyFieldOverrides, createTheme, dateTime, identityOverrideProcessor, Registry, ThemeContext, toDataFrame, FieldType,
} from "@grafana/data";
import { BarGauge, BigValue, Table, TimeSeries } from "@grafana/ui";
import { createElement } from "react";
import { flushSync } from "react-dom";
import { createRoot } from "react-dom/client";
import "uplot/dist/uPlot.min.css";
import { drawBars, drawStat, drawTable } from "../../crates/analytics/page/pane/figures.ts";
import { drawLines } from "../../crates/analytics/page/pane/lines.ts";
import "../../crates/analytics/page/pane/style.css";

const [WIDTH, HEIGHT] = [600, 260];
const DRAW = { timeseries: drawLines, stat: drawStat, table: drawTable, bargauge: drawBars };
const theme = createTheme({ colors: { mode: "light" } });

/** What a panel may say of a field, as far as the dashboards say it. */
const option = (id, path, isCustom = false) => ({ id, path, name: id, isCustom, process: identityOverrideProcessor, shouldApply: () => true, override: () => null, editor: () => null, settings: {} });
const registry = new Registry(() => [
  ...["unit", "decimals", "displayName", "thresholds", "noValue", "min", "max"].map((id) => option(id, id)),
  option("links", "links"),
  option("custom.cellOptions", "cellOptions", true),
]);

const KINDS = { time: FieldType.time, number: FieldType.number, text: FieldType.string };
const texts = (root, selector) => [...root.querySelectorAll(selector)].map((one) => one.textContent.trim());
const place = (id, title) => {
  const root = document.createElement("section");
  root.className = "panel";
  root.id = id;
  root.style.cssText = `width:${WIDTH + 30}px;height:${HEIGHT + 40}px;position:relative;overflow:hidden`;
  const body = document.createElement("div");
  body.className = "body";
  body.style.cssText = `width:${WIDTH}px;height:${HEIGHT}px`;
  root.append(Object.assign(document.createElement("h2"), { textContent: title }), body);
  document.body.append(root);
  return body;
};
const settled = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done))));

/** A frame of the query API as Grafana's data source gives it: with text columns beside a time, a series for each of them. */
function frames({ type }, frame) {
  const values = (column, rows) => rows.map((row) => (frame.columns[column].kind === "time" ? Date.parse(row[column]) : row[column]));
  const field = (column, rows, labels) => ({ name: frame.columns[column].name, type: KINDS[frame.columns[column].kind], values: values(column, rows), config: {}, labels });
  const of = (kind) => frame.columns.flatMap((column, index) => (column.kind === kind ? [index] : []));
  if (type !== "timeseries") return [toDataFrame({ fields: frame.columns.map((_, index) => field(index, frame.rows)) })];
  const [time] = of("time");
  const names = of("text");
  const key = (row) => JSON.stringify(names.map((index) => row[index]));
  return [...new Set(frame.rows.map(key))].map((one) => {
    const rows = frame.rows.filter((row) => key(row) === one);
    const labels = names.length ? Object.fromEntries(names.map((index) => [frame.columns[index].name, rows[0][index]])) : undefined;
    return toDataFrame({ fields: [field(time, rows), ...of("number").map((index) => field(index, rows, labels))] });
  });
}

/** The panel by Grafana's component, and what is to be read in it. */
async function theirs(panel, frame) {
  const body = place(`theirs-${panel.type}`, `${panel.title}: Grafana's`);
  const data = applyFieldOverrides({ data: frames(panel, frame), fieldConfig: panel.fieldConfig, fieldConfigRegistry: registry, replaceVariables: (text) => text, theme, timeZone: "utc" });
  const numbers = data.flatMap((one) => one.fields.filter((field) => field.type === FieldType.number));
  const size = { width: WIDTH, height: HEIGHT };
  const range = { from: dateTime(frame.from_ms), to: dateTime(frame.to_ms), raw: { from: dateTime(frame.from_ms), to: dateTime(frame.to_ms) } };
  const shown = {
    timeseries: () => createElement(TimeSeries, { frames: data, timeRange: range, timeZone: "utc", legend: panel.options.legend, ...size }),
    stat: () => createElement(BigValue, { value: numbers[0].display(numbers[0].values.at(-1)), theme, colorMode: panel.options.colorMode, graphMode: panel.options.graphMode, ...size }),
    table: () => createElement(Table, { data: data[0], ...size }),
    bargauge: () => createElement("div", {}, ...numbers[0].values.slice(0, panel.options.reduceOptions.limit).map((value, row) => createElement(BarGauge, {
      value: { ...numbers[0].display(value), title: data[0].fields.find((field) => field.type === FieldType.string).values[row] }, display: numbers[0].display, field: { ...numbers[0].config, min: 0, max: Math.max(...numbers[0].values) },
      theme, orientation: panel.options.orientation, displayMode: panel.options.displayMode, showUnfilled: panel.options.showUnfilled, itemSpacing: 8, width: WIDTH, height: 26,
    }))),
  }[panel.type]();
  const root = createRoot(body);
  flushSync(() => root.render(createElement(ThemeContext.Provider, { value: theme }, shown)));
  await settled();
  return {
    // The legend has the name of the column before that of the series, if there is but one column: the page leaves it out.
    timeseries: () => ({
      names: texts(body, "[aria-label^='VizLegend series'], [data-testid^='data-testid VizLegend series']").map((name) => (numbers.every((field) => field.labels && field.name === numbers[0].name) ? name.replace(`${numbers[0].name} `, "") : name)),
      charts: body.querySelectorAll("canvas").length,
    }),
    stat: () => ({ texts: [body.textContent.trim()] }),
    table: () => ({ heads: texts(body, "[role='columnheader']"), rows: [...body.querySelectorAll("[role='row']")].map((row) => texts(row, "[role='cell'], [role='gridcell']")).filter((row) => row.length) }),
    bargauge: () => ({ rows: [...body.firstChild.children].map((row) => [row.firstChild.textContent, texts(row, "[data-testid='data-testid Bar gauge value']")[0]]) }),
  }[panel.type]();
}

/** The panel as the page draws it. */
async function ours(panel, frame, id) {
  const body = place(id, `${panel.title}: the page's`);
  DRAW[panel.type](body, { panel, frames: [frame], marks: [], state: { uid: id, path: "/", from: "now-1h", to: "now", refresh: "", values: new Map() }, zoom: () => undefined });
  await settled();
  return {
    timeseries: () => ({ names: texts(body, ".u-legend .u-series .u-label").slice(1), charts: body.querySelectorAll("canvas").length }),
    stat: () => ({ texts: texts(body, ".figure") }),
    table: () => ({ heads: texts(body, "thead th"), rows: [...body.querySelectorAll("tbody tr")].map((row) => texts(row, "td")) }),
    bargauge: () => ({ rows: [...body.querySelectorAll("li")].map((row) => [texts(row, ".name")[0], texts(row, ".n")[0]]) }),
  }[panel.type]();
}

window.theirs = theirs;
window.ours = ours;
