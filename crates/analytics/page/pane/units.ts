// Values as text, by Grafana's names of units.

/** How a unit is written. What is not here is drawn by nobody: `check` refuses it. */
const SCALES: Record<string, [number, string][]> = {
  reqps: [[1, " req/s"], [1e3, "k req/s"], [1e6, "M req/s"]],
  short: [[1, ""], [1e3, "k"], [1e6, "M"], [1e9, "G"], [1e12, "T"]],
  "µs": [[1, " µs"], [1e3, " ms"], [1e6, " s"], [6e7, " min"], [3.6e9, " h"]],
  ms: [[1e-3, " µs"], [1, " ms"], [1e3, " s"], [6e4, " min"], [3.6e6, " h"]],
  s: [[1e-6, " µs"], [1e-3, " ms"], [1, " s"], [60, " min"], [3600, " h"], [86400, " d"]],
  bytes: [[1, " B"], [1024, " KiB"], [1024 ** 2, " MiB"], [1024 ** 3, " GiB"], [1024 ** 4, " TiB"]],
  percent: [[1, " %"]],
  none: [[1, ""]],
  ops: [[1, " ops/s"], [1e3, "k ops/s"]],
  cps: [[1, " /s"], [1e3, "k /s"], [1e6, "M /s"]],
  Bps: [[1, " B/s"], [1e3, " kB/s"], [1e6, " MB/s"], [1e9, " GB/s"]],
};

const rounded = (value: number, decimals: number | undefined): string =>
  new Intl.NumberFormat("en", decimals === undefined
    ? { maximumSignificantDigits: 3 }
    : { maximumFractionDigits: decimals, minimumFractionDigits: 0 }).format(value);

const dates = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/** A time with its date, in the viewer's zone. */
export const moment = (ms: number): string => dates.format(ms);

/** The viewer's zone, with its difference from UTC. */
export function zone(): string {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const minutes = -new Date().getTimezoneOffset();
  const hours = Math.trunc(Math.abs(minutes) / 60);
  const rest = Math.abs(minutes) % 60;
  return `${timeZone}, UTC${minutes < 0 ? "−" : "+"}${hours}${rest ? ":" + String(rest).padStart(2, "0") : ""}`;
}

/** A value as text. */
export function written(value: unknown, unit: string, decimals?: number): string {
  if (value === null || value === undefined || value === "") return "–";
  if (unit === "dateTimeAsIso") {
    const ms = Date.parse(String(value));
    return Number.isNaN(ms) ? String(value) : moment(ms);
  }
  if (typeof value !== "number") return typeof value === "object" ? JSON.stringify(value) : String(value);
  if (!Number.isFinite(value)) return "–";
  if (unit === "percentunit") return rounded(100 * value, decimals ?? 2) + " %";
  const scales = SCALES[unit];
  if (!scales) return rounded(value, decimals ?? 3);
  // A whole number that is short is said in full.
  if (unit === "short" && decimals === 0 && Math.abs(value) < 1e6) return rounded(value, 0);
  const [scale, suffix] = scales.findLast(([from]) => Math.abs(value) >= from) ?? (value === 0 ? [1, scales[0][1]] : scales[0]);
  return rounded(value / scale, scale === 1 ? decimals : undefined) + suffix;
}
