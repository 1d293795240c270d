// Dashboards as Grafana knows them: each file in the folder against the JSON Schema made of @grafana/schema's types (the
// dashboard, and the options of each kind of panel), each unit against the list of @grafana/data. Then the same for a
// dashboard with one fault at a time: a check that finds nothing there has failed.
//
//   node .ci/dashboards/check.mjs [FOLDER]
//
// Exit code: 0 nothing is wrong, 1 something is.
import Ajv from "ajv";
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createGenerator } from "ts-json-schema-generator";

const HERE = dirname(fileURLToPath(import.meta.url));
const FOLDER = process.argv[2] ?? join(HERE, "../../dashboards");
const TYPES = join(HERE, "node_modules/@grafana/schema/dist/types/raw");

// They ask the browser for the language.
globalThis.navigator ??= { language: "en-US", languages: ["en-US"] };
// The package as a whole needs a browser; its units do not.
const { getValueFormats } = createRequire(import.meta.url)(join(HERE, "node_modules/@grafana/data/dist/cjs/valueFormats/valueFormats.cjs"));
const UNITS = new Set(getValueFormats().flatMap((group) => group.submenu.map((unit) => unit.value)));

/** The JSON Schema of a type, which allows no other members; `amend` changes its definitions. */
function schema(path, type, amend) {
  const generated = createGenerator({ path, type, skipTypeCheck: true, additionalProperties: false }).createSchema(type);
  amend(generated.definitions);
  return new Ajv({ strict: false, allErrors: true, allowUnionTypes: true }).compile(generated);
}

/** A file may leave out what has a default: the types are of a dashboard that Grafana has read. */
function withDefaults(definitions) {
  for (const definition of Object.values(definitions)) withoutRequired(definition);
}

function withoutRequired(node) {
  if (typeof node !== "object" || node === null) return;
  if (Array.isArray(node.required)) delete node.required;
  Object.values(node).forEach(withoutRequired);
}

/** The types have the query of Grafana's own source of annotations, and say that others have theirs; links have defaults, and a
 *  variable may have no value at first. */
function ofDashboard(definitions) {
  definitions.AnnotationTarget = { type: "object" };
  delete definitions.DashboardLink.required;
  delete definitions.VariableOption.required;
}

const OF_DASHBOARD = schema(join(TYPES, "dashboard/x/types.gen.d.ts"), "Dashboard", ofDashboard);
const KINDS = { timeseries: "timeseries", stat: "stat", table: "table", bargauge: "bargauge", heatmap: "heatmap", text: "text", nodeGraph: "nodegraph" };
const FIELDS = { timeseries: true };
const panelSchemas = new Map();

/** The schemas of what a kind of panel may be told; `traces` has none. */
function ofPanel(kind) {
  const folder = KINDS[kind];
  if (folder === undefined) return {};
  if (!panelSchemas.has(kind)) {
    const path = join(TYPES, "composable", folder, "panelcfg/x", readdirSync(join(TYPES, "composable", folder, "panelcfg/x")).find((name) => name.endsWith(".d.ts")));
    panelSchemas.set(kind, { options: schema(path, "Options", withDefaults), field: FIELDS[kind] ? schema(path, "FieldConfig", withDefaults) : undefined });
  }
  return panelSchemas.get(kind);
}

const said = (validate, place) => validate.errors.map((error) => `${place}${error.instancePath}: ${error.message}${error.params.additionalProperty ? ` (${error.params.additionalProperty})` : ""}`);

/** Units of a panel: of its fields, and of columns that have their own. */
function* units({ fieldConfig }) {
  yield fieldConfig?.defaults?.unit;
  for (const { properties } of fieldConfig?.overrides ?? []) {
    for (const { id, value } of properties) if (id === "unit") yield value;
  }
}

/** What is wrong with a dashboard, as sentences. */
function faults(dashboard) {
  const found = [];
  if (!OF_DASHBOARD(dashboard)) found.push(...said(OF_DASHBOARD, ""));
  for (const panel of dashboard.panels ?? []) {
    const { options, field } = ofPanel(panel.type);
    if (options && !options(panel.options)) found.push(...said(options, `\`${panel.title}\`: options`));
    const custom = panel.fieldConfig?.defaults?.custom;
    if (field && custom && !field(custom)) found.push(...said(field, `\`${panel.title}\`: custom`));
    for (const unit of units(panel)) if (!UNITS.has(unit)) found.push(`\`${panel.title}\`: Grafana has no unit \`${unit}\``);
  }
  return found;
}

/** One fault each: what is broken, and what the check must say. */
const BREAKS = [
  ["the height of a panel is a text", (d) => (d.panels[0].gridPos.h = "4"), "gridPos/h"],
  ["a member that Grafana does not have", (d) => (d.pannels = []), "pannels"],
  ["a schema version that is a text", (d) => (d.schemaVersion = "39"), "schemaVersion"],
  ["a variable of no kind that there is", (d) => (d.templating.list[0].type = "magic"), "templating/list/0"],
  ["a unit that there is not", (d) => (d.panels[0].fieldConfig.defaults.unit = "furlongs"), "furlongs"],
  ["a unit of a column that there is not", (d) => d.panels.find((p) => p.fieldConfig.overrides.length).fieldConfig.overrides.at(-2).properties.push({ id: "unit", value: "stone" }), "stone"],
  ["an option of another kind of panel", (d) => (d.panels.find((p) => p.type === "stat").options.cellHeight = "sm"), "cellHeight"],
  ["a legend in no place", (d) => (d.panels.find((p) => p.type === "timeseries").options.legend.placement = "top"), "placement"],
  ["lines in no style", (d) => (d.panels.find((p) => p.type === "timeseries").fieldConfig.defaults.custom.drawStyle = "crayon"), "drawStyle"],
  ["thresholds without a colour", (d) => delete d.panels[0].fieldConfig.defaults.thresholds.steps[0].color, "color"],
];

let wrong = 0;
const complain = (text) => {
  wrong += 1;
  console.error(text);
};
const files = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));
if (files.length === 0) complain(`no dashboards in ${FOLDER}`);
for (const file of files) {
  const dashboard = JSON.parse(readFileSync(join(FOLDER, file), "utf8"));
  for (const fault of faults(dashboard)) complain(`${file}: ${fault}`);
}
const whole = readFileSync(join(HERE, "../../dashboards/gateways.json"), "utf8");
for (const [what, spoil, expected] of BREAKS) {
  const broken = JSON.parse(whole);
  spoil(broken);
  const found = faults(broken);
  if (!found.some((fault) => fault.includes(expected))) complain(`the check has not found ${what}: ${found.join("; ") || "nothing"}`);
}
console.log(`${files.length} dashboards, ${BREAKS.length} broken ones, ${UNITS.size} units: ${wrong === 0 ? "nothing is wrong" : `${wrong} faults`}`);
process.exit(wrong === 0 ? 0 : 1);
