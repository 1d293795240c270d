// Questions to the query API. A few run at a time: the server has as many places for one client.
import type * as api from "../api";

const AT_ONCE = 4;
const AGAIN_MS = 700;
const ATTEMPTS = 4;
/** `Retry-After` of an answer that has no place now, in seconds; where ClickHouse is away it is more. */
const CROWDED = 2;

let running = 0;
const waiting: (() => void)[] = [];

async function turn(): Promise<void> {
  if (running >= AT_ONCE) await new Promise<void>((go) => waiting.push(go));
  else running++;
}

function next() {
  const go = waiting.shift();
  if (go) go();
  else running--;
}

/** Where a query is asked; a parameter that its path has goes there. */
export function addressOf<P extends keyof api.Queries>(path: P, parameters: api.Queries[P]["parameters"]): string {
  let where: string = path;
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (where.includes(`{${name}}`)) where = where.replace(`{${name}}`, encodeURIComponent(String(value)));
    else for (const one of Array.isArray(value) ? value : [value]) query.append(name, String(one));
  }
  return `${where}?${query}`;
}

/** The document of a query. */
export async function ask<P extends keyof api.Queries>(path: P, parameters: api.Queries[P]["parameters"], signal?: AbortSignal): Promise<api.Queries[P]["document"]> {
  await turn();
  try {
    return await fetched(addressOf(path, parameters), signal);
  } finally {
    next();
  }
}

/** To the form that asks for a token, and back here from there. */
function login() {
  location.assign(`/login?${new URLSearchParams({ next: location.pathname + location.search })}`);
}

/** Ends the session, where there is one. */
export async function logout() {
  await fetch("/logout", { method: "POST" });
  login();
}

/** Asks again where the server is crowded. */
async function fetched(address: string, signal: AbortSignal | undefined, attempt = 1): Promise<any> {
  signal?.throwIfAborted();
  const limit = AbortSignal.timeout(60_000);
  const answer = await fetch(address, { signal: signal ? AbortSignal.any([signal, limit]) : limit });
  if (answer.status === 503 && Number(answer.headers.get("retry-after")) <= CROWDED && attempt < ATTEMPTS) {
    await new Promise((go) => setTimeout(go, AGAIN_MS * attempt));
    return fetched(address, signal, attempt + 1);
  }
  if (answer.ok) return answer.json();
  if (answer.status === 401) login();
  const refused: Partial<api.ErrorDocument> = await answer.json().catch(() => ({}));
  throw new Error(refused.error ?? `status ${answer.status}`);
}
