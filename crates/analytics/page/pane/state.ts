// What is looked at, as the address says it: Grafana's names, so that a link means the same here and there.
import type * as api from "../api";

export const ALL = "$__all";

/** Where events are shown as they arrive, and the dashboard whose variables say which. */
export const TAIL = "/tail";
export const EVENTS = "weir-events";

export interface State {
  uid: string;
  /** Where it is shown. */
  path: string;
  from: string;
  to: string;
  refresh: string;
  /** Of each variable that queries have; `[ALL]` for all. */
  values: Map<string, string[]>;
}

/** The address's part of the state; the rest is the dashboard's. */
export function read(dashboard: api.Dashboard, address: URL): State {
  const given = address.searchParams;
  const values = new Map<string, string[]>();
  for (const variable of dashboard.templating.list) {
    if (variable.type === "datasource") continue;
    const found = given.getAll(`var-${variable.name}`);
    values.set(variable.name, found.length ? found : [variable.current.value ?? ""]);
  }
  return {
    uid: dashboard.uid,
    path: address.pathname === TAIL ? TAIL : `/d/${dashboard.uid}`,
    from: given.get("from") ?? dashboard.time.from,
    to: given.get("to") ?? dashboard.time.to,
    refresh: given.get("refresh") ?? dashboard.refresh,
    values,
  };
}

/** The address of a state. */
export function address(state: State): string {
  const query = new URLSearchParams();
  for (const [name, values] of state.values) for (const value of values) query.append(`var-${name}`, value);
  query.set("from", state.from);
  query.set("to", state.to);
  query.set("refresh", state.refresh);
  return `${state.path}?${query}`;
}

/** The values as the query API takes them. */
export const asked = (state: State): string[] => [...state.values].flatMap(([name, values]) => values.map((value) => `${name}:${value}`));

/** A link of a dashboard: values of the row and the state put in, nothing of them but text. `null` if it leads elsewhere. */
export function link(url: string, state: State, row: (name: string) => unknown): string | null {
  const parameters = (name: string) => (state.values.get(name) ?? []).map((value) => `var-${name}=${encodeURIComponent(value)}`).join("&");
  const made = url.replace(/\$\{([^}]*)\}/g, (_, inside: string) => {
    if (inside === "__url_time_range") return `from=${encodeURIComponent(state.from)}&to=${encodeURIComponent(state.to)}`;
    if (inside.startsWith("__data.fields.")) return encodeURIComponent(String(row(inside.slice("__data.fields.".length)) ?? ""));
    if (inside.endsWith(":queryparam")) return parameters(inside.slice(0, -":queryparam".length));
    return encodeURIComponent((state.values.get(inside) ?? []).join(","));
  });
  return made.startsWith("/d/") ? made : null;
}
