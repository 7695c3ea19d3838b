// Charts of other marks than lines: a heat map, bars, points, parallel coordinates. Each has a frame, in pixels, in
// which it is drawn, and tells what is at a place: `{ title, rows }`, a row being `{ colour, text }`.
import { number } from "./format.js";
import { scale, ticks } from "./axes.js";
import { diamond } from "./lines.js";
import { heatColour } from "./theme.js";

const ROW = 18; // pixels a bar
const LONGEST = 30; // characters of a label
const LETTER = 6.2; // pixels, on average

function shortened(text, most = LONGEST) {
  const letters = [...String(text)];
  return letters.length > most ? `${letters.slice(0, Math.max(0, most - 1)).join("")}…` : String(text);
}

// `text`, shortened to so many pixels.
function fitting(text, pixels) {
  return shortened(text, Math.min(LONGEST, Math.floor(pixels / LETTER)));
}

// Pixels that `labels` need, `share` of `width` at most.
function room(labels, width, share) {
  return Math.min(share * width, 12 + LETTER * Math.max(0, ...labels.map((label) => label.length)));
}

function spread(count, from, to) {
  const each = (to - from) / Math.max(1, count);
  return { each, begin: (index) => from + index * each, middle: (index) => from + (index + 0.5) * each, index: (pixel) => Math.floor((pixel - from) / each) };
}

// `{ z, x, y, xTitle, yTitle, zTitle, most, hover(row, column) }`: values `z[row][column]`, the first row at the top,
// with names `x` and `y`, or with `xRange` and `yRange` of a continuous axis.
const heat = {
  frame(model, width, height) {
    const left = model.y ? room(model.y.map((name) => shortened(name)), width, 0.3) : 52;
    const names = model.x ? room(model.x.map((name) => shortened(name)), height * 1.4, 0.4) / 1.4 : 18;
    return { left, right: width - 58, top: 8, bottom: height - names - 20, names };
  },
  paint(surface, model, { left, right, top, bottom, names }, { faint }) {
    const [across, down] = [spread(model.z[0].length, left, right), spread(model.z.length, top, bottom)];
    const most = model.most ?? Math.max(...model.z.map((row) => Math.max(...row)), 1e-9);
    model.z.forEach((row, r) => row.forEach((value, c) => {
      surface.rect(across.begin(c), down.begin(r), across.each + 0.5, down.each + 0.5, { colour: heatColour(value / most) });
    }));
    const every = Math.ceil(11 / down.each);
    model.y?.forEach((name, r) => r % every || surface.text(left - 5, down.middle(r), fitting(name, left - 8), { colour: faint, size: 10, align: "right" }));
    const wide = Math.ceil((model.y ? 11 : 28) / across.each);
    model.x?.forEach((name, c) => c % wide || surface.text(across.middle(c) + 3, bottom + 5, fitting(name, 1.4 * names - 12), { colour: faint, size: 10, align: "right", angle: -45 }));
    if (model.xRange) axis(surface, scale(...model.xRange, left, right), bottom, faint);
    if (model.yRange) sideAxis(surface, scale(...model.yRange, bottom, top), left, faint);
    surface.text((left + right) / 2, bottom + (model.x ? names + 12 : 30), model.xTitle ?? "", { colour: faint, align: "center" });
    if (model.yTitle) surface.text(12, (top + bottom) / 2, model.yTitle, { colour: faint, align: "center", angle: -90 });
    // The key of the colours.
    const steps = 32;
    const key = spread(steps, bottom, top);
    for (let i = 0; i < steps; i += 1) surface.rect(right + 10, key.begin(i + 1), 9, -key.each + 0.5, { colour: heatColour((i + 0.5) / steps) });
    for (const { value, text: said } of ticks({ low: 0, high: most }, 4)) surface.text(right + 22, bottom + (value / most) * (top - bottom), said, { colour: faint, size: 10 });
    surface.text(right + 50, (top + bottom) / 2, model.zTitle, { colour: faint, size: 10, align: "center", angle: -90 });
  },
  at(model, { left, right, top, bottom }, x, y) {
    if (x < left || x >= right || y < top || y >= bottom) return null;
    const [row, column] = [spread(model.z.length, top, bottom).index(y), spread(model.z[0].length, left, right).index(x)];
    return model.hover(row, column);
  },
  table: (model) => [["row", "column", "value"], ...model.z.flatMap((row, r) => row.map((value, c) => [model.y?.[r] ?? model.rows?.[r] ?? r, model.x?.[c] ?? model.columns?.[c] ?? c, value]))],
};

function axis(surface, { from, to, ...rest }, y, colour) {
  const across = scale(rest.low, rest.high, from, to, rest.log);
  for (const { value, text } of ticks(across, Math.max(2, (to - from) / 80))) surface.text(across.place(value), y + 11, text, { colour, align: "center" });
}

function sideAxis(surface, up, x, colour) {
  for (const { value, text } of ticks(up, Math.max(2, (up.from - up.to) / 45))) surface.text(x - 5, up.place(value), text, { colour, align: "right" });
}

// `{ bars: [{ name, value, low, high, colour, text, rows }], title }`, one below the other.
const barChart = {
  height: (model) => 40 + ROW * model.bars.length,
  frame(model, width, height) {
    return { left: room(model.bars.map(({ name }) => shortened(name)), width, 0.45), right: width - 12, top: 4, bottom: height - 34 };
  },
  paint(surface, model, { left, right, top, bottom }, { faint, line, text, lit }) {
    const most = Math.max(...model.bars.map(({ value, high }) => Math.max(value ?? 0, high ?? 0)), 1e-9);
    // Room for the text beside the longest bar.
    const beside = 8 + LETTER * Math.max(0, ...model.bars.map(({ text: said }) => said?.length ?? 0));
    const across = scale(0, most, left, Math.max(left + 20, right - beside));
    for (const { value, text: said } of ticks(across, Math.max(2, (right - left) / 80))) {
      surface.line([across.place(value), top, across.place(value), bottom], { colour: line });
      surface.text(across.place(value), bottom + 10, said, { colour: faint, align: "center" });
    }
    surface.text((left + right) / 2, bottom + 25, model.title, { colour: faint, align: "center" });
    const down = spread(model.bars.length, top, bottom);
    model.bars.forEach(({ name, value, low, high, colour, text: said, key }, index) => {
      const y = down.middle(index);
      surface.text(left - 5, y, fitting(name, left - 6), { colour: faint, align: "right" });
      const end = value === null ? left : across.place(value);
      if (value !== null) surface.rect(left, down.begin(index) + 2, end - left, down.each - 4, { colour, opacity: lit && key && key !== lit ? 0.2 : 0.85 });
      if (high > low) surface.line([across.place(low), y, across.place(high), y], { colour: text, width: 2 });
      if (said) surface.text(Math.max(end, high > low ? across.place(high) : 0) + 5, y, said, { colour: text, size: 10 });
    });
  },
  at(model, { top, bottom }, x, y) {
    const bar = model.bars[spread(model.bars.length, top, bottom).index(y)];
    return bar ? { title: bar.name, rows: bar.rows ?? [{ colour: bar.colour, text: bar.text ?? number(bar.value) }], key: bar.key } : null;
  },
  table: (model) => [["name", model.title, "least", "most"], ...model.bars.map(({ name, value, low, high }) => [name, value, low, high])],
};

// Scale of the values of a setting or result: `{ place(value), marks }`. Values that are not all numbers have equal
// distances.
function kindOf(values, from, to) {
  const known = values.filter((value) => value !== undefined && value !== null);
  if (known.length && known.every((value) => Number.isFinite(value))) {
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const log = low > 0 && high / low >= 50;
    const margin = low === high ? Math.abs(low) * 0.1 || 1 : 0;
    const numeric = scale(low - margin, high + margin, from, to, log);
    return { place: numeric.place, marks: ticks(numeric, 4) };
  }
  const names = [...new Set(known.map(String))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const even = spread(names.length, from, to);
  return { place: (value) => even.middle(names.indexOf(String(value))), marks: names.map((name) => ({ value: name, text: shortened(name) })) };
}

// `{ points: [{ x, y, colour, name, key }], xTitle, yTitle, say(value) }`.
const scatter = {
  frame: (model, width, height) => ({ left: 56, right: width - 14, top: 10, bottom: height - 40 }),
  paint(surface, model, box, { faint, line, card, lit }) {
    const { across, up } = scatter.scales(model, box);
    for (const { value, text } of across.marks) {
      surface.line([across.place(value), box.top, across.place(value), box.bottom], { colour: line });
      surface.text(across.place(value), box.bottom + 11, text, { colour: faint, align: "center" });
    }
    for (const { value, text } of up.marks) {
      surface.line([box.left, up.place(value), box.right, up.place(value)], { colour: line });
      surface.text(box.left - 5, up.place(value), text, { colour: faint, align: "right" });
    }
    surface.text((box.left + box.right) / 2, box.bottom + 29, model.xTitle, { colour: faint, align: "center" });
    surface.text(11, (box.top + box.bottom) / 2, model.yTitle, { colour: faint, align: "center", angle: -90 });
    for (const { x, y, colour, key } of model.points) diamond(surface, across.place(x), up.place(y), key === lit ? colour : card, colour, lit && key !== lit ? 0.3 : 1, key === lit ? 6 : 4.5);
  },
  scales({ points }, { left, right, top, bottom }) {
    return { across: kindOf(points.map(({ x }) => x), left + 12, right - 12), up: kindOf(points.map(({ y }) => y), bottom - 10, top + 10) };
  },
  at(model, box, x, y) {
    const { across, up } = scatter.scales(model, box);
    const far = ({ x: a, y: b }) => Math.hypot(across.place(a) - x, up.place(b) - y);
    const near = model.points.filter((point) => far(point) < 14).sort((a, b) => far(a) - far(b));
    if (!near.length) return null;
    const rows = near.slice(0, 8).map((point) => ({ colour: point.colour, text: `${point.name}: ${model.say(point)}` }));
    return { title: "", rows, key: near[0].key };
  },
  table: (model) => [["run", model.xTitle, model.yTitle], ...model.points.map(({ name, x, y }) => [name, x, y])],
};

// `{ axes: [{ title, say(value) }], lines: [{ values, colour, name, key }] }`.
const parallel = {
  frame: (model, width, height) => ({ left: 40, right: width - 60, top: 34, bottom: height - 14 }),
  scales({ axes, lines }, { left, right, top, bottom }) {
    const gap = axes.length > 1 ? (right - left) / (axes.length - 1) : 0;
    return axes.map((_, index) => ({ x: left + index * gap, up: kindOf(lines.map(({ values }) => values[index]), bottom, top) }));
  },
  path(line, scales) {
    const points = [];
    line.values.forEach((value, index) => {
      if (value !== undefined && value !== null) points.push(scales[index].x, scales[index].up.place(value));
    });
    return points;
  },
  paint(surface, model, box, { faint, text, line: grid, lit, card }) {
    const scales = parallel.scales(model, box);
    const gap = (box.right - box.left) / Math.max(1, model.axes.length - 1);
    for (const one of model.lines) {
      const own = one.key === lit;
      surface.line(parallel.path(one, scales), { colour: one.colour, width: own ? 3 : 1.3, opacity: lit && !own ? 0.12 : 0.75 });
    }
    model.axes.forEach(({ title, say }, index) => {
      const { x, up } = scales[index];
      const last = index === model.axes.length - 1;
      surface.line([x, box.top, x, box.bottom], { colour: grid, width: 2 });
      // Headings stand in two rows; those at the ends grow to one side only.
      const most = Math.floor((index === 0 || last ? 0.9 : 1.8) * gap / (1.1 * LETTER));
      surface.text(x, index % 2 ? box.top - 12 : box.top - 24, shortened(title, most), { colour: text, align: index === 0 ? "left" : last ? "right" : "center", weight: 600 });
      for (const { value, text: said } of up.marks) {
        const shown = say ? say(value) : said;
        surface.rect(x + 3, up.place(value) - 7, LETTER * shown.length + 4, 14, { colour: card, opacity: 0.75 });
        surface.text(x + 5, up.place(value), shown, { colour: faint, size: 10 });
      }
    });
  },
  at(model, box, x, y) {
    const scales = parallel.scales(model, box);
    let best = { far: 10, line: null };
    for (const line of model.lines) {
      const points = parallel.path(line, scales);
      for (let i = 0; i + 3 < points.length; i += 2) {
        const [a, b, c, d] = points.slice(i, i + 4);
        if (x < a || x > c) continue;
        const far = Math.abs(b + ((d - b) * (x - a)) / (c - a || 1) - y);
        if (far < best.far) best = { far, line };
      }
    }
    if (!best.line) return null;
    const { colour, name, values, key } = best.line;
    const rows = model.axes.map(({ title, say }, index) => ({ text: `${title}: ${values[index] === undefined ? "–" : (say ?? String)(values[index])}` }));
    return { title: name, rows: [{ colour, text: "" }, ...rows].slice(1), colour, key };
  },
  table: (model) => [["run", ...model.axes.map(({ title }) => title)], ...model.lines.map(({ name, values }) => [name, ...values])],
};

export const MARKS = { heat, bars: barChart, scatter, parallel };
