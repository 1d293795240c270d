// The time that is shown: `now-1h`, or milliseconds since the Unix epoch.

const UNITS: Record<string, number> = { s: 1e3, m: 6e4, h: 3.6e6, d: 8.64e7, w: 6.048e8 };

/** A time as milliseconds; `null` where it is none. */
export function resolved(text: string, now: number): number | null {
  if (text === "now") return now;
  const relative = /^now-(\d+)([smhdw])$/.exec(text);
  if (relative) return now - Number(relative[1]) * UNITS[relative[2]];
  return /^\d+$/.test(text) ? Number(text) : null;
}

export interface Shown {
  from: number;
  to: number;
}

/** Both ends; a range that cannot be is the last hour. */
export function range(from: string, to: string, now: number): Shown {
  const [begin, end] = [resolved(from, now), resolved(to, now)];
  return begin !== null && end !== null && begin < end ? { from: begin, to: end } : { from: now - 3.6e6, to: now };
}

/** An interval as milliseconds; 0 for none. */
export function interval(text: string): number {
  const found = /^(\d+)([smh])$/.exec(text);
  return found ? Number(found[1]) * UNITS[found[2]] : 0;
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400];

/** Seconds of a step for a chart of that many pixels. */
export function step(shown: Shown, pixels: number): number {
  const wanted = (shown.to - shown.from) / 1000 / Math.max(50, pixels / 4);
  return STEPS.find((one) => one >= wanted) ?? 86400;
}
