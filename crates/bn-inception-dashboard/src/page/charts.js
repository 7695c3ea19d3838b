// Panels and the charts in them.
import { element } from "./format.js";
import { choices, cssColour, faded, runColour, runDash } from "./theme.js";

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

// Adds a panel: `{ title, note, wide, tools, has(view), coming(view), key(view), draw(body, view) }`. It is shown if
// `has` is true, or with the text of `coming` until then. It is drawn anew only when `key`, if there is one, changes.
// `view` is the state of the page.
export function addPanel(section, panel) {
  const heading = element("h3", { textContent: panel.title });
  const head = element("header", {}, [heading, panel.tools ?? null]);
  const note = panel.note ? element("p", { className: "note", textContent: panel.note }) : null;
  const body = element("div", { className: panel.bodyClass ?? "" });
  const empty = element("p", { className: "empty", hidden: true });
  const root = element("article", { className: panel.wide ? "panel wide" : "panel", "aria-label": panel.title }, [head, note, body, empty]);
  section.append(root);
  panels.push({ ...panel, root, body, empty, near: false, stale: true });
  seen.observe(root);
}

// Shows every panel that applies. Panels out of sight are drawn when they come into sight.
export function refresh(view) {
  for (const panel of panels) {
    panel.view = view;
    const full = panel.has(view);
    const text = full ? null : panel.coming?.(view) ?? null;
    panel.root.hidden = !full && text === null;
    panel.body.hidden = !full;
    if (panel.tools) panel.tools.hidden = !full;
    panel.empty.hidden = full || text === null;
    panel.empty.textContent = text ?? "";
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

// Horizontal position of a row of a series.
function across(row) {
  if (choices.axis === "images") return row[1];
  return choices.axis === "hours" ? row[2] / 3600 : row[0];
}

const AXIS_TITLES = { step: "optimizer steps", images: "training images", hours: "hours" };

// The trace of rows: a line, or a marker if there is only one.
export function trace(rows, scale = 1) {
  return { x: rows.map(across), y: rows.map((row) => scale * row[3]), mode: rows.length > 1 ? "lines" : "markers" };
}

// Draws a chart with plotly's `traces` into `body`. `x` and `y` are options of the axes.
export function chart(body, traces, { y = {}, x = {}, label, ...layout }) {
  let figure = body.querySelector(":scope > .chart");
  if (!figure) {
    figure = element("div", { className: "chart", role: "img" });
    body.append(figure);
  }
  figure.setAttribute("aria-label", label);
  const grid = { gridcolor: cssColour("line"), zerolinecolor: cssColour("line"), linecolor: cssColour("line"), automargin: true };
  const named = traces.filter((trace) => trace.showlegend !== false && trace.name);
  const settings = {
    font: { family: "system-ui, sans-serif", size: 12, color: cssColour("faint") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 52, r: 10, t: 8, b: 40 },
    hovermode: "x unified",
    hoverlabel: { bgcolor: cssColour("card"), bordercolor: cssColour("line"), font: { color: cssColour("text") }, namelength: 40 },
    dragmode: coarse ? false : "zoom",
    showlegend: named.length > 1,
    legend: { orientation: "h", y: -0.22, yanchor: "top", x: 0, font: { size: 11 } },
    modebar: { color: cssColour("faint"), activecolor: cssColour("accent"), bgcolor: "rgba(0,0,0,0)" },
    uirevision: choices.axis + choices.log,
    ...layout,
    xaxis: { title: { text: AXIS_TITLES[choices.axis], standoff: 6 }, ...grid, ...x },
    yaxis: { ...grid, ...y },
  };
  Plotly.react(figure, traces, settings, CONFIG);
}

// Exponential moving average with bias correction.
function smooth(values, weight) {
  let [mean, share] = [0, 1];
  return values.map((value) => {
    mean = weight * mean + (1 - weight) * value;
    share *= weight;
    // Rounded, or the axis would magnify the rounding errors of a constant.
    return Number((mean / (1 - share)).toPrecision(7));
  });
}

// The traces of a series of a run: the values, faint, and their moving average.
export function curve(run, name, { scale = 1, label, smoothed = true } = {}) {
  const rows = run.series[name] ?? [];
  const colour = runColour(run.index);
  const values = trace(rows, scale);
  const shown = { ...values, name: label, line: { color: colour, width: 2, dash: runDash(run.index) }, marker: { color: colour } };
  if (!smoothed || choices.smoothing === 0) return [shown];
  const traces = [];
  if (rows.some((row) => row.length > 4)) {
    const spread = (at) => rows.map((row) => scale * (row[at] ?? row[3]));
    const edge = { x: values.x, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
    traces.push({ ...edge, y: spread(4) }, { ...edge, y: spread(5), fill: "tonexty", fillcolor: faded(colour, 0.12) });
  }
  traces.push({ ...values, mode: "lines", line: { color: faded(colour, 0.3), width: 1 }, hoverinfo: "skip", showlegend: false });
  traces.push({ ...shown, y: smooth(values.y, choices.smoothing) });
  return traces;
}

const MOST_MARKERS = 60;

// The trace of exact values, such as validations, with a marker each while they are few.
export function points(run, name, { scale = 1, label } = {}) {
  const rows = run.series[name] ?? [];
  const colour = runColour(run.index);
  return {
    ...trace(rows, scale),
    name: label,
    mode: rows.length > MOST_MARKERS ? "lines" : "lines+markers",
    line: { color: colour, width: 1.5, dash: "dot" },
    marker: { color: cssColour("card"), size: 8, symbol: "diamond", line: { color: colour, width: 2 } },
  };
}
