// Writes the dashboards that are made of parts: `node dashboards/make/make.mjs [FOLDER]`, into dashboards/ unless a folder is
// named. A test of weir-analytics holds the files against this.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import api from "./api.mjs";
import chain from "./chain.mjs";
import consumers from "./consumers.mjs";
import events from "./events.mjs";
import fleet from "./fleet.mjs";
import slo from "./slo.mjs";

const folder = process.argv[2] ?? fileURLToPath(new URL("..", import.meta.url));
for (const { name, json } of [fleet, api, events, consumers, chain, slo]) {
  writeFileSync(join(folder, `${name}.json`), JSON.stringify(json, null, 2) + "\n");
}
