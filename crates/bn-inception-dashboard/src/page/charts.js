// Panels and the charts in them.
import { element, number } from "./format.js";
import { choices, cssColour, faded, runColour, runDash, swatch } from "./theme.js";
import { robustRange } from "./range.js";
import { setLongest, smooth, smoothingSteps } from "./smoothing.js";

const panels = [];
const coarse = matchMedia("(pointer: coarse)").matches;
const CONFIG = { responsive: true, displaylogo: false, scrollZoom: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] };

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const panel = panels.find((candidate) => candidate.root === entry.target);
    panel.near = entry.isIntersecting;
    if (panel.near && panel.stale) drawPanel(panel);
  }
}, { rootMargin: "300px" });

// Adds a panel: `{ title, note, wide, tools, of(view), has(view), coming(view), key(view), draw(body, view) }`. It is
// shown if `has` is true, or with the text of `coming` until then. It is drawn anew only when `key`, if there is one,
// changes. `of` says which run and step a panel of one run shows, as `[run, step]`. `view` is the state of the page.
export function addPanel(section, panel) {
  const heading = element("h3", { textContent: panel.title });
  const head = element("header", {}, [heading, panel.tools ?? null]);
  const note = panel.note ? element("p", { className: "note", textContent: panel.note }) : null;
  const origin = panel.of ? element("p", { className: "of" }) : null;
  const body = element("div", { className: panel.bodyClass ?? "" });
  const empty = element("p", { className: "empty", hidden: true });
  const root = element("article", { className: panel.wide ? "panel wide" : "panel", "aria-label": panel.title }, [head, origin, note, body, empty]);
  section.append(root);
  panels.push({ ...panel, root, origin, body, empty, near: false, stale: true });
  seen.observe(root);
}

// What a panel of the run in focus shows: its newest step.
export function focused(view) {
  return [view.focus, view.focus.standing.step];
}

// What a panel of the cell called `name` shows: the step of the validation that it comes from.
export function ofCell(name) {
  return (view) => {
    const cell = view.focus.cells[name];
    return [view.focus, Array.isArray(cell) ? cell[0] : cell.step];
  };
}

// Shows every panel that applies. Panels out of sight are drawn when they come into sight.
export function refresh(view) {
  setLongest(Math.max(0, ...view.runs.map((run) => run.standing.step)));
  setTimeUnit(Math.max(0, ...view.runs.map((run) => run.standing.seconds)));
  for (const panel of panels) {
    panel.view = view;
    const full = panel.has(view);
    // Nothing more comes into a report.
    const text = full || !view.live ? null : panel.coming?.(view) ?? null;
    panel.root.hidden = !full && text === null;
    panel.body.hidden = !full;
    if (panel.tools) panel.tools.hidden = !full;
    panel.empty.hidden = full || text === null;
    panel.empty.textContent = text ?? "";
    if (panel.origin) {
      const [run, step] = full ? panel.of(view) : [];
      panel.origin.hidden = !full;
      panel.origin.replaceChildren(...(full ? [swatch(run), ` ${run.name}, step ${step.toLocaleString("en")}`] : []));
    }
    panel.stale = full;
    if (panel.stale && panel.near) drawPanel(panel);
  }
}

function drawPanel(panel) {
  panel.stale = false;
  const key = panel.key && JSON.stringify(panel.key(panel.view));
  if (key && key === panel.drawn) return;
  panel.drawn = key;
  panel.draw(panel.body, panel.view);
}

const HOURS_FROM = 2 * 3600; // seconds of the longest run from which on the axis counts hours

let timeUnit = { seconds: 3600, title: "hours" };

function setTimeUnit(longest) {
  timeUnit = longest >= HOURS_FROM ? { seconds: 3600, title: "hours" } : { seconds: 60, title: "minutes" };
}

// Horizontal position of a row of a series.
function across(row) {
  if (choices.axis === "images") return row[1];
  return choices.axis === "hours" ? row[2] / timeUnit.seconds : row[0];
}

function axisTitle() {
  return { step: "optimizer steps", images: "training images" }[choices.axis] ?? timeUnit.title;
}

// Text of a number in a hover: four digits, and the unit.
const digits = (name) => `%{${name}:,.4~r}`;

export function hover(unit = "") {
  return `${digits("y")} ${unit}`.trim();
}

// The trace of rows: a line, or a marker if there is only one.
export function trace(rows, scale = 1) {
  return { x: rows.map(across), y: rows.map((row) => scale * row[3]), mode: rows.length > 1 ? "lines" : "markers" };
}

// The vertical axis of curves without their outliers, and notes of what is left out; nothing without any.
function robust(traces, y) {
  // Of smoothed curves the values as measured: the average drags an outlier along.
  const values = traces.filter((trace) => trace.stackgroup === undefined).flatMap((trace) => trace.customdata ?? trace.y);
  // Parts that are stacked count together.
  const stacked = traces.filter((trace) => trace.stackgroup !== undefined);
  const totals = stacked.length ? stacked[0].y.map((_, index) => stacked.reduce((sum, trace) => sum + (trace.y[index] ?? 0), 0)) : [];
  const found = robustRange(values.concat(totals), { log: y.type === "log", zero: y.rangemode === "tozero" });
  if (!found) return { y: {}, annotations: [] };
  const above = found.above === null ? "" : `▲ up to ${number(found.above)} `;
  const below = found.below === null ? "" : `▼ down to ${number(found.below)}`;
  // Above the curves.
  const annotation = { text: `${above}${below}`.trim(), xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 11 } };
  return { y: { range: found.range }, annotations: [annotation] };
}

// Draws a chart with plotly's `traces` into `body`. `x` and `y` are options of the axes. Lines leave outliers out unless
// the user wants them; `robust: false` never does.
export function chart(body, traces, { y = {}, x = {}, label, robust: may = true, ...layout }) {
  let figure = body.querySelector(":scope > .chart");
  if (!figure) {
    figure = element("div", { className: "chart", role: "img" });
    body.append(figure);
  }
  figure.setAttribute("aria-label", label);
  const grid = { gridcolor: cssColour("line"), zerolinecolor: cssColour("line"), linecolor: cssColour("line"), automargin: true };
  const named = traces.filter((trace) => trace.showlegend !== false && trace.name);
  const lines = may && !choices.outliers && traces.every((trace) => trace.type === undefined);
  const cut = lines ? robust(traces, y) : { y: {}, annotations: [] };
  const settings = {
    font: { family: "system-ui, sans-serif", size: 12, color: cssColour("faint") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 52, r: 10, t: cut.annotations.length ? 22 : 8, b: 40 },
    hovermode: "x unified",
    hoverlabel: { bgcolor: cssColour("card"), bordercolor: cssColour("line"), font: { color: cssColour("text") }, namelength: -1 },
    dragmode: coarse ? false : "zoom",
    showlegend: named.length > 1,
    legend: { orientation: "h", y: -0.22, yanchor: "top", x: 0, font: { size: 11 } },
    modebar: { color: cssColour("faint"), activecolor: cssColour("accent"), bgcolor: "rgba(0,0,0,0)" },
    uirevision: [choices.axis, choices.log, choices.outliers, timeUnit.title].join(),
    annotations: cut.annotations,
    ...layout,
    xaxis: { title: { text: axisTitle(), standoff: 6 }, hoverformat: choices.axis === "hours" ? ",.4~r" : ",d", ...grid, ...x },
    yaxis: { ...grid, ...y, ...cut.y },
  };
  Plotly.react(figure, traces, settings, CONFIG);
}

// The traces of a series of a run: the values, faint, and their moving average.
export function curve(run, name, { scale = 1, label, unit, smoothed = true } = {}) {
  const rows = run.series[name] ?? [];
  const colour = runColour(run.index);
  const values = trace(rows, scale);
  const constant = smoothed ? smoothingSteps() : 0;
  const shown = { ...values, name: label, hovertemplate: hover(unit), line: { color: colour, width: 2, dash: runDash(run.index) }, marker: { color: colour } };
  if (constant === 0) return [shown];
  const traces = [];
  if (rows.some((row) => row.length > 4)) {
    const spread = (at) => rows.map((row) => scale * (row[at] ?? row[3]));
    const edge = { x: values.x, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
    traces.push({ ...edge, y: spread(4) }, { ...edge, y: spread(5), fill: "tonexty", fillcolor: faded(colour, 0.12) });
  }
  traces.push({ ...values, mode: "lines", line: { color: faded(colour, 0.3), width: 1 }, hoverinfo: "skip", showlegend: false });
  const average = smooth(rows.map((row) => row[0]), values.y, constant);
  traces.push({ ...shown, y: average, customdata: values.y, hovertemplate: `${hover(unit)} (measured ${digits("customdata")})` });
  return traces;
}

const MOST_MARKERS = 60;

// The trace of exact values, such as validations, with a marker each while they are few.
export function points(run, name, { scale = 1, label, unit } = {}) {
  const rows = run.series[name] ?? [];
  const colour = runColour(run.index);
  return {
    ...trace(rows, scale),
    name: label,
    hovertemplate: hover(unit),
    mode: rows.length > MOST_MARKERS ? "lines" : "lines+markers",
    line: { color: colour, width: 1.5, dash: "dot" },
    marker: { color: cssColour("card"), size: 8, symbol: "diamond", line: { color: colour, width: 2 } },
  };
}
