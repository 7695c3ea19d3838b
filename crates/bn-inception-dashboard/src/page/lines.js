// Charts of lines over a common horizontal axis.
import { number } from "./format.js";
import { firstFrom } from "./axes.js";
import { robustRange } from "./range.js";

// A model of such a chart: `{ lines, log, zero, robust, guide }`. A line has `x` and `y`; `name`, `colour`, `width`,
// `dash`, `opacity`; `low` and `high` for a band around it, `band` for the band's opacity; `marks` to draw a diamond at
// each point, `stack` to be stacked on those before, `measured` for hovers, `silent` for none, `key` of its run.

const MOST_SAMPLED = 6000; // values that the vertical range is taken from

// Range of the horizontal values of all lines.
export function spanOf(lines) {
  let [low, high] = [Infinity, -Infinity];
  for (const { x } of lines) {
    if (x.length) [low, high] = [Math.min(low, x[0]), Math.max(high, x.at(-1))];
  }
  return low <= high ? [low, high] : [0, 1];
}

// Indices of the points from `low` to `high` and of one more on either side.
function seenOf(x, low, high) {
  return [Math.max(0, firstFrom(x, low) - 1), Math.min(x.length, firstFrom(x, high) + 1)];
}

// Tops of the stacked lines, by line.
function stacked(lines) {
  const tops = new Map();
  let below = null;
  for (const line of lines.filter(({ stack }) => stack)) {
    below = line.y.map((value, index) => value + (below?.[index] ?? 0));
    tops.set(line, below);
  }
  return tops;
}

// `{ low, high, note }`: the vertical range of what is between `low` and `high`, without outliers if the model is
// `robust`, and what it leaves out.
export function verticalRange(model, [low, high]) {
  const { lines, log = false, zero = false, robust = true, guide } = model;
  const tops = stacked(lines);
  const values = [];
  const extremes = [Infinity, -Infinity];
  const total = lines.reduce((sum, { x }) => sum + x.length, 0);
  for (const line of lines) {
    const [from, to] = [firstFrom(line.x, low), firstFrom(line.x, high + 1e-9 * Math.abs(high))];
    // Of smoothed lines the values as measured: the average drags an outlier along.
    const source = tops.get(line) ?? line.measured ?? line.y;
    const every = Math.max(1, Math.floor(total / MOST_SAMPLED));
    for (let i = from; i < to; i += every) {
      values.push(source[i]);
      if (line.low && !line.silent) values.push(line.low[i], line.high[i]);
    }
    // No extreme is missed.
    for (let i = from; every > 1 && i < to; i += 1) {
      if (log && !(source[i] > 0)) continue;
      if (source[i] < extremes[0]) extremes[0] = source[i];
      if (source[i] > extremes[1]) extremes[1] = source[i];
    }
  }
  values.push(...extremes);
  const usable = values.filter((value) => Number.isFinite(value) && (!log || value > 0));
  if (!usable.length) return { low: log ? 0.1 : 0, high: 1, note: "" };
  const cut = robust ? robustRange(usable, { log, zero }) : null;
  if (cut) {
    const range = log ? cut.range.map((value) => 10 ** value) : cut.range;
    const above = cut.above === null ? "" : `▲ up to ${number(cut.above)} `;
    const below = cut.below === null ? "" : `▼ down to ${number(cut.below)}`;
    return { low: range[0], high: range[1], note: `${above}${below}`.trim() };
  }
  let [least, most] = [Infinity, -Infinity];
  for (const value of guide === undefined ? usable : [...usable, guide]) [least, most] = [Math.min(least, value), Math.max(most, value)];
  if (zero) [least, most] = [Math.min(least, 0), Math.max(most, 0)];
  if (log) {
    const margin = Math.max((most / least) ** 0.05, 1.02);
    return { low: least / margin, high: most * margin, note: "" };
  }
  const margin = 0.05 * (most - least) || 0.05 * Math.abs(most) || 0.5;
  return { low: zero && least === 0 ? 0 : least - margin, high: zero && most === 0 ? 0 : most + margin, note: "" };
}

// Points of a line in pixels, those that a logarithmic axis lacks left out.
function pixels(x, y, [from, to], across, up) {
  const points = [];
  for (let i = from; i < to; i += 1) {
    if (up.log && !(y[i] > 0)) continue;
    points.push(across.place(x[i]), up.place(y[i]));
  }
  return points;
}

function reversed(points) {
  const turned = [];
  for (let i = points.length - 2; i >= 0; i -= 2) turned.push(points[i], points[i + 1]);
  return turned;
}

// Draws the lines. Those of other runs than `lit`, if there is one, are faint.
export function paintLines(surface, { lines, guide }, across, up, { lit, text, card }) {
  const tops = stacked(lines);
  let floor = null;
  for (const line of lines) {
    const range = seenOf(line.x, across.low, across.high);
    const fade = lit && line.key && line.key !== lit ? 0.12 : 1;
    const { colour, width = 1.5, dash, opacity = 1 } = line;
    const top = tops.get(line);
    if (line.low) {
      const band = [...pixels(line.x, line.low, range, across, up), ...reversed(pixels(line.x, line.high, range, across, up))];
      surface.polygon(band, { colour, opacity: (line.band ?? 0.15) * fade });
    }
    const points = pixels(line.x, top ?? line.y, range, across, up);
    if (top) {
      const ground = floor ?? line.x.map(() => 0);
      surface.polygon([...points, ...reversed(pixels(line.x, ground, range, across, up))], { colour, opacity: 0.45 });
      floor = top;
    }
    const bold = lit && line.key === lit ? 1 : 0;
    surface.line(points, { colour, width: width + bold, dash, opacity: opacity * fade });
    // A single value is no line.
    if (line.marks || points.length === 2) points.forEach((x, i) => i % 2 || diamond(surface, x, points[i + 1], line.marks ? card : colour, colour, opacity * fade));
  }
  if (guide !== undefined) surface.line([across.from, up.place(guide), across.to, up.place(guide)], { colour: text, dash: "dash" });
}

export function diamond(surface, x, y, fill, edge, opacity = 1, size = 4) {
  const points = [x, y - size, x + size, y, x, y + size, x - size, y];
  surface.polygon(points, { colour: fill, opacity });
  surface.line([...points, x, y - size], { colour: edge, width: 1.5, opacity });
}

// The points of the lines that are nearest to `x`: `[{ line, index }]`.
export function linesAt({ lines }, x, reach) {
  const found = [];
  for (const line of lines) {
    if (line.silent || !line.x.length) continue;
    const right = Math.min(firstFrom(line.x, x), line.x.length - 1);
    const index = right > 0 && x - line.x[right - 1] < line.x[right] - x ? right - 1 : right;
    if (Math.abs(line.x[index] - x) <= reach || (x > line.x[0] && x < line.x.at(-1) && !line.marks)) found.push({ line, index });
  }
  return found;
}
