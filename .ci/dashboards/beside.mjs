// A panel of each kind that @grafana/ui exports, drawn by it and by the page of weir-analytics in one browser, from the same
// dashboard file and the same frame. What is to be read in both must be the same: names, figures with their units, rows and
// cells; pixels are not compared. Then the same with one fault at a time in what the page is given: a check that finds
// nothing there has failed. Both are kept as a picture in target/dashboards/beside.png.
//
//   node .ci/dashboards/beside.mjs
//
// Exit code: 0 nothing differs, 1 something does.
import esbuild from "esbuild";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, "../..");
const KEPT = join(ROOT, "target/dashboards");
const [FROM, STEP] = [Date.UTC(2026, 10, 28, 8), 60_000];
const SITES = ["on-prem", "cloud-eu", "cloud-us"];

const frame = (columns, rows) => ({ from_ms: FROM, to_ms: FROM + 60 * STEP, step_s: 60, columns: columns.map(([name, kind]) => ({ name, kind })), rows });
const at = (minute) => new Date(FROM + minute * STEP).toISOString();
const trace = (digit) => String(digit).repeat(32);

/** The file, the panel, and a frame as its query answers it. */
const PANELS = [
  ["fleet.json", "Gateway requests by site", frame([["time", "time"], ["site", "text"], ["requests", "number"]],
    Array.from({ length: 60 }, (_, minute) => SITES.map((site, index) => [at(minute), site, 40 * (index + 1) + ((minute * 7) % 11)])).flat())],
  ["fleet.json", "Errors, of user requests", frame([["errors", "number"]], [[0.012345]])],
  ["fleet.json", "p99, of user requests", frame([["p99", "number"]], [[187_654.3]])],
  ["fleet.json", "Sites", frame(
    [["site", "text"], ["requests", "number"], ["users", "number"], ["errors", "number"], ["p50", "number"], ["p95", "number"], ["p99", "number"], ["overhead", "number"], ["slowest", "text"]],
    [["cloud-eu", 81_234, 80_001, 0.0004, 2_345.6, 45_678.9, 1_234_567.8, 91.2, trace("a")], ["cloud-us", 912, 912, 0, 850.4, 1_500, 9_999, 88, trace("b")], ["on-prem", 2_345_678, 1_111_111, 0.25, 12_000, 34_000, 56_000, 140.75, trace("c")]])],
  ["api.json", "Consumers, user requests", frame([["who", "text"], ["requests", "number"]], [["app-001", 123_456], ["app-002", 9_876], ["nobody authenticated", 432], ["app-003", 7]])],
];

/** What a text with a figure says: the number, how exact it is written, and the unit. Grafana writes thousands of `short` as K, Mil
 *  and Bil, the page as k, M and G. */
function figure(text) {
  const found = /^(-?[\d,]*\.?\d+)\s*(.*)$/.exec(text);
  if (!found) return undefined;
  const scale = { K: 1e3, Mil: 1e6, M: 1e6, Bil: 1e9, G: 1e9 };
  const [, digits, suffix] = found;
  const [, letter, unit] = /^(Mil|Bil|[kKMG](?=$| req))?\s*(.*)$/.exec(suffix);
  const times = scale[letter === "k" ? "K" : letter] ?? 1;
  const decimals = digits.split(".")[1]?.length ?? 0;
  return { value: Number(digits.replaceAll(",", "")) * times, half: (0.5 * times) / 10 ** decimals, unit };
}

/** Three digits are written at least, so figures may differ by what a half of the third is. */
function isSame(ours, theirs) {
  if (ours === theirs) return true;
  const [a, b] = [figure(ours), figure(theirs)];
  if (!a || !b || a.unit !== b.unit) return false;
  return Math.abs(a.value - b.value) <= Math.max(a.half, b.half) + 0.005 * Math.abs(b.value) + 1e-9;
}

/** How two drawings of a panel differ, as sentences. */
function differences(ours, theirs) {
  const found = [];
  const same = (what, a, b) => {
    if (a.length !== b.length) return found.push(`${what}: ${a.length} instead of ${b.length}`);
    a.forEach((one, index) => isSame(one, b[index]) || found.push(`${what}: \`${one}\` instead of \`${b[index]}\``));
  };
  if ("charts" in theirs && (ours.charts !== 1 || theirs.charts !== 1)) found.push(`charts: ${ours.charts} and ${theirs.charts}`);
  for (const part of ["names", "heads", "texts"]) if (part in theirs) same(part, ours[part], theirs[part]);
  if ("rows" in theirs) {
    same("rows", ours.rows.map(String).map(() => ""), theirs.rows.map(() => ""));
    ours.rows.forEach((row, index) => theirs.rows[index] && same(`row ${index + 1}`, row, theirs.rows[index]));
  }
  return found;
}

/** One fault each in what the page is given: the kind of panel, what is spoilt, and what must differ. */
const BREAKS = [
  ["timeseries", "a series is missing", ({ frame }) => (frame.rows = frame.rows.filter((row) => row[1] !== "cloud-us")), "names: 2 instead of 3"],
  ["timeseries", "a series has another name", ({ frame }) => frame.rows.forEach((row) => (row[1] = row[1].replace("on-prem", "on-premises"))), "`on-premises`"],
  ["stat", "another unit", ({ panel }) => (panel.fieldConfig.defaults.unit = "ms"), "texts:"],
  ["stat", "a figure that is ten times as large", ({ frame }) => (frame.rows[0][0] *= 10), "texts:"],
  ["table", "a row is missing", ({ frame }) => frame.rows.pop(), "rows: 2 instead of 3"],
  ["table", "a column has lost its unit", ({ panel }) => (panel.fieldConfig.overrides = panel.fieldConfig.overrides.filter((one) => one.matcher.options !== "p99")), "row 1:"],
  ["table", "a column is missing", ({ frame }) => (frame.columns.pop(), frame.rows.forEach((row) => row.pop())), "heads: 8 instead of 9"],
  ["bargauge", "a bar is missing", ({ frame }) => frame.rows.shift(), "rows: 3 instead of 4"],
  ["bargauge", "a figure of another bar", ({ frame }) => (frame.rows[1][1] = 1), "row 2:"],
];

/** Modules of CommonJS whose default is taken as Grafana's own build takes it: `default`, and not all that they export. */
const defaults = {
  name: "defaults",
  setup(build) {
    build.onResolve({ filter: /^react-custom-scrollbars-2$/ }, ({ path, namespace }) => (namespace === "defaults" ? undefined : { path, namespace: "defaults" }));
    build.onLoad({ filter: /.*/, namespace: "defaults" }, ({ path }) => ({ contents: `module.exports = require("${path}").default`, resolveDir: HERE }));
  },
};

/** The page with both kinds of drawing in it, in a folder of its own. */
async function built(folder) {
  const modules = join(HERE, "node_modules");
  await esbuild.build({
    entryPoints: [join(HERE, "beside.jsx")], outdir: folder, bundle: true, format: "iife", logLevel: "error", nodePaths: [modules], plugins: [defaults], alias: { uplot: join(modules, "uplot") },
    define: { "process.env.NODE_ENV": '"production"', global: "window" },
    loader: Object.fromEntries([".svg", ".png", ".ttf", ".woff", ".woff2", ".gif"].map((name) => [name, "dataurl"])),
  });
  const page = join(folder, "page.html");
  writeFileSync(page, `<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="beside.css"><style>body{display:grid;grid-template-columns:640px 640px;gap:8px;padding:8px}</style><body><span id="probe" hidden></span><script src="beside.js"></script>`);
  return page;
}

let wrong = 0;
const complain = (text) => {
  wrong += 1;
  console.error(text);
};
const folder = mkdtempSync(join(tmpdir(), "weir-beside-"));
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium-headless-shell", args: ["--no-sandbox", "--disable-gpu"] });
try {
  const page = await browser.newPage({ viewport: { width: 1310, height: 1560 } });
  page.on("pageerror", (error) => complain(`the page: ${error}`));
  await page.goto(`file://${await built(folder)}`);
  const theirs = new Map();
  for (const [index, [file, title, frame]] of PANELS.entries()) {
    const panel = JSON.parse(readFileSync(join(ROOT, "dashboards", file), "utf8")).panels.find((one) => one.title === title);
    if (!panel) complain(`${file} has no panel \`${title}\``);
    const id = `ours-${index}`;
    const ours = await page.evaluate(([panel, frame, id]) => window.ours(panel, frame, id), [panel, frame, id]);
    const original = await page.evaluate(([panel, frame]) => window.theirs(panel, frame), [panel, frame]);
    if (!theirs.has(panel.type)) theirs.set(panel.type, { panel, frame, original });
    for (const one of differences(ours, original)) complain(`\`${title}\`: ${one}`);
  }
  mkdirSync(KEPT, { recursive: true });
  await page.screenshot({ path: join(KEPT, "beside.png"), fullPage: true });
  for (const [index, [type, what, spoil, expected]] of BREAKS.entries()) {
    const { panel, frame, original } = theirs.get(type);
    const broken = structuredClone({ panel, frame });
    spoil(broken);
    const ours = await page.evaluate(([{ panel, frame }, id]) => window.ours(panel, frame, id), [broken, `broken-${index}`]);
    const found = differences(ours, original);
    if (!found.some((one) => one.includes(expected))) complain(`the check has not found that ${what}: ${found.join("; ") || "nothing"}`);
  }
  console.log(`${PANELS.length} panels beside Grafana's, ${BREAKS.length} broken ones: ${wrong === 0 ? "the same is read in both" : `${wrong} differences`}`);
} finally {
  await browser.close();
  rmSync(folder, { recursive: true });
}
process.exit(wrong === 0 ? 0 : 1);
