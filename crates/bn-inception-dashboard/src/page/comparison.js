// The panels that compare runs.
import { duration, element, literal, number, percent, plain } from "./format.js";
import { choices, cssColour, swatch } from "./theme.js";
import { best, imagesPerSecond, isOver, lastValue, reached, start } from "./store.js";
import { addPanel, chart, points } from "./charts.js";

// Columns of the table of runs: heading, value to sort by, text.
const COLUMNS = [
  ["Run", (run) => run.name],
  ["Recipe", (run) => start(run).settings?.recipe],
  ["Preset", (run) => start(run).settings?.preset],
  ["Width", (run) => start(run).settings?.width],
  ["Pixels", (run) => start(run).settings?.["image-size"]],
  ["Batch", (run) => start(run).settings?.["batch-size"]],
  ["Seed", (run) => start(run).settings?.seed],
  ["Parameters", (run) => start(run).parameters, (value) => value?.toLocaleString("en") ?? "–"],
  ["Steps", (run) => run.standing.step],
  ["Best top-1", (run) => best(run)?.[3], (value) => percent(value)],
  ["at step", (run) => best(run)?.[0]],
  ["Last top-5", (run) => lastValue(run, "val/top5"), (value) => percent(value)],
  ["Last val. loss", (run) => lastValue(run, "val/loss"), number],
  ["Images/s", (run) => imagesPerSecond(run), number],
  ["Time", (run) => run.standing.seconds, duration],
];

const sorting = { column: 0, descending: false };

export function addComparison(section, redraw) {
  addPanel(section, {
    title: "Runs",
    wide: true,
    note: "A click on a heading sorts.",
    has: (view) => view.all.length > 1,
    key: (view) => [sorting, choices.theme, view.all.map((run) => [run.key, COLUMNS.map(([, value, text = plain]) => text(value(run)))])],
    draw: (body, view) => drawTable(body, view, redraw),
  });
  addTarget(section, redraw);
  addPanel(section, {
    title: "What differs",
    note: "Settings and recipe of the runs shown; what they have in common is left out.",
    has: (view) => view.runs.length > 1,
    draw: drawDifferences,
  });
}

function table(heads, rows) {
  const body = element("tbody", {}, rows.map((cells) => element("tr", {}, cells)));
  const parts = [element("thead", {}, [element("tr", {}, heads)]), body];
  return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Table" }, [element("table", {}, parts)]);
}

function cell(content, numeric = false) {
  return element("td", { className: numeric ? "number" : "" }, content);
}

function drawTable(body, view, redraw) {
  const focused = body.contains(document.activeElement) ? sorting.column : null;
  const heads = COLUMNS.map(([title], column) => {
    const sorted = sorting.column === column;
    const button = element("button", { type: "button", textContent: sorted ? `${title} ${sorting.descending ? "▾" : "▴"}` : title });
    button.addEventListener("click", () => {
      sorting.descending = sorted && !sorting.descending;
      sorting.column = column;
      redraw();
    });
    return element("th", { scope: "col", "aria-sort": sorted ? (sorting.descending ? "descending" : "ascending") : "none" }, [button]);
  });
  const value = COLUMNS[sorting.column][1];
  const sorted = [...view.all].sort((a, b) => compare(value(a), value(b)) * (sorting.descending ? -1 : 1));
  const rows = sorted.map((run) => COLUMNS.map(([, read, text = plain], column) => cell(column ? [text(read(run))] : [swatch(run), run.name])));
  body.replaceChildren(table(heads, rows));
  if (focused !== null) body.querySelectorAll("th button")[focused]?.focus();
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a ?? "").localeCompare(String(b ?? ""), "en", { numeric: true });
}

// Steps to an accuracy, the paper's measure of speed.
function addTarget(section, redraw) {
  const input = element("input", { type: "number", min: 1, max: 100, step: 0.5 });
  input.addEventListener("input", () => {
    const value = Number(input.value);
    choices.target = value > 0 && value <= 100 ? value / 100 : choices.target;
    redraw();
  });
  addPanel(section, {
    title: "Steps to an accuracy",
    note: "The first validation at or above it; nothing between validations is made up.",
    tools: element("label", { className: "tools" }, ["Top-1 ", input, " %"]),
    has: (view) => view.runs.some((run) => run.cells.records?.length),
    coming: (view) => (view.runs.some((run) => !isOver(run)) ? "Comes with the first validation." : null),
    draw(body, view) {
      const target = choices.target ?? usualTarget(view);
      if (document.activeElement !== input) input.value = Number((100 * target).toFixed(1));
      drawTarget(body, view, target);
    },
  });
}

// The accuracy that every run has reached, rounded down to a multiple of 5 %.
function usualTarget(view) {
  const bests = view.runs.map((run) => best(run)?.[3]).filter((value) => value !== undefined);
  return Math.max(0.05, Math.floor(20 * Math.min(...bests)) / 20);
}

function drawTarget(body, view, target) {
  const place = body.querySelector(".target") ?? element("div", { className: "target" });
  if (!place.parentElement) body.append(place);
  const hits = view.runs.map((run) => ({ run, hit: reached(run, target) }));
  const slowest = Math.max(...hits.map(({ hit }) => hit?.[0] ?? 0));
  const heads = ["Run", "Steps", "Images", "Time", "Sooner"].map((title, column) => element("th", { scope: "col", className: column ? "number" : "", textContent: title }));
  const rows = hits.map(({ run, hit }) => {
    const name = cell([swatch(run), run.name]);
    if (!hit) {
      const text = best(run) ? `not yet; best ${percent(best(run)[3])}` : "no validation yet";
      return [name, element("td", { colSpan: 4, className: "number faint", textContent: isOver(run) ? text.replace("not yet", "never") : text })];
    }
    const [step, images, seconds] = hit;
    return [name, ...[step.toLocaleString("en"), images.toLocaleString("en"), duration(seconds), `${(slowest / step).toFixed(1)}×`].map((text) => cell([text], true))];
  });
  place.replaceChildren(table(heads, rows));
  const traces = view.runs.filter((run) => run.series["val/top1"]).map((run) => points(run, "val/top1", { scale: 100, unit: "%", label: literal(run.name) }));
  const line = { type: "line", xref: "paper", x0: 0, x1: 1, y0: 100 * target, y1: 100 * target, line: { color: cssColour("text"), width: 1, dash: "dash" } };
  chart(body, traces, { y: { title: { text: "validation top-1 (%)" } }, shapes: [line], robust: false, label: `Validation top-1 and the ${percent(target)} line` });
}

function flattened(run) {
  const { settings = {}, recipe = {}, device, revision, dataset, total_steps, parameters } = start(run);
  const flat = { device, revision, dataset, "total steps": total_steps, parameters };
  const walk = (prefix, value) => {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      Object.entries(value).forEach(([name, inner]) => walk(`${prefix} ${name}`, inner));
    } else flat[prefix] = value;
  };
  Object.entries(settings).forEach(([name, value]) => walk(`--${name}`, value));
  Object.entries(recipe).forEach(([name, value]) => walk(`recipe ${name}`, value));
  return flat;
}

function drawDifferences(body, view) {
  const configs = view.runs.map(flattened);
  const names = [...new Set(configs.flatMap(Object.keys))];
  const differing = names.filter((name) => new Set(configs.map((config) => plain(config[name]))).size > 1);
  const heads = [element("th", { scope: "col", textContent: "Setting" }), ...view.runs.map((run) => element("th", { scope: "col" }, [swatch(run), ` ${run.name}`]))];
  const rows = differing.map((name) => [element("th", { scope: "row", textContent: name }), ...configs.map((config) => cell([plain(config[name])]))]);
  body.replaceChildren(differing.length ? table(heads, rows) : element("p", { className: "faint", textContent: "Nothing: the same settings, recipe, device and data." }));
}
