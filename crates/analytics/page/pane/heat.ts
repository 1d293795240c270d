// A heat map: steps of time across, buckets upwards, how many as the strength of the colour.
import { el, painted } from "./dom";
import { nothing, type Draw } from "./panel";
import { moment, written } from "./units";

const LEFT = 64;
const BELOW = 20;

export const drawHeat: Draw = (body, { panel, frames: [frame], zoom }) => {
  const column = (kind: string) => frame.columns.findIndex((one) => one.kind === kind);
  const [time, name, number] = [column("time"), column("text"), column("number")];
  if (!frame.rows.length) return void body.replaceChildren(nothing(panel));
  const cells = frame.rows.map((row) => ({ at: Date.parse(String(row[time])), upper: Number(row[name]), n: Number(row[number]) }));
  const uppers = [...new Set(cells.map((one) => one.upper))].sort((a, b) => a - b);
  const times = [...new Set(cells.map((one) => one.at))].sort((a, b) => a - b);
  const step = Math.max(60_000, Math.min(...times.slice(1).map((at, index) => at - times[index]), frame.to_ms - frame.from_ms));
  const most = Math.max(...cells.map((one) => one.n));
  const { exponent } = panel.options.color ?? { exponent: 0.5 };
  const unit = panel.options.yAxis?.unit ?? "short";
  const canvas = el("canvas", { role: "img", "aria-label": `${panel.title}: the most, ${written(most, "short")}, in one step and bucket` });
  const said = el("p", { class: "hover soft", "aria-hidden": true });
  body.replaceChildren(canvas, said);
  const place = () => {
    const [width, height] = [Math.max(160, body.clientWidth), Math.max(80, body.clientHeight - 18)];
    const across = (at: number) => LEFT + ((at - frame.from_ms) / (frame.to_ms - frame.from_ms)) * (width - LEFT);
    const tall = (height - BELOW) / uppers.length;
    return { width, height, across, tall };
  };
  const paint = () => {
    const { width, height, across, tall } = place();
    const ratio = devicePixelRatio || 1;
    [canvas.width, canvas.height] = [width * ratio, height * ratio];
    [canvas.style.width, canvas.style.height] = [`${width}px`, `${height}px`];
    const ctx = canvas.getContext("2d");
    if (!ctx) return;
    ctx.scale(ratio, ratio);
    ctx.fillStyle = painted("heat");
    for (const one of cells) {
      const [from, to] = [Math.max(LEFT, across(one.at)), Math.min(width, across(one.at + step))];
      ctx.globalAlpha = 0.08 + 0.92 * (one.n / most) ** exponent;
      ctx.fillRect(from, height - BELOW - (uppers.indexOf(one.upper) + 1) * tall, Math.max(1, to - from - (panel.options.cellGap ?? 0)), Math.max(1, tall - 1));
    }
    ctx.globalAlpha = 1;
    ctx.fillStyle = painted("soft");
    ctx.font = "11px system-ui, sans-serif";
    const every = Math.max(1, Math.ceil(16 / tall));
    uppers.forEach((upper, index) => {
      if (index % every === 0) ctx.fillText(written(upper, unit), 2, height - BELOW - index * tall - tall / 2 + 4);
    });
    for (const part of [0, 0.5]) ctx.fillText(moment(frame.from_ms + part * (frame.to_ms - frame.from_ms)), LEFT + part * (width - LEFT), height - 5);
  };
  canvas.addEventListener("pointermove", (event) => {
    const { height, across, tall } = place();
    const index = Math.floor((height - BELOW - event.offsetY) / tall);
    const found = cells.find((one) => one.upper === uppers[index] && across(one.at) <= event.offsetX && event.offsetX < across(one.at + step));
    said.textContent = found ? `${moment(found.at)}: ${written(found.n, "short", 0)} up to ${written(found.upper, unit)}` : "";
  });
  canvas.addEventListener("dblclick", (event) => {
    const { width } = place();
    const at = frame.from_ms + ((event.offsetX - LEFT) / (width - LEFT)) * (frame.to_ms - frame.from_ms);
    zoom(Math.round(at - 2 * step), Math.round(at + 2 * step));
  });
  const watch = new ResizeObserver(paint);
  watch.observe(body);
  paint();
  return () => watch.disconnect();
};
