// The panels of training curves and of the machine.
import { number, percent } from "./format.js";
import { choices, paletteColour, runColour, runDash } from "./theme.js";
import { below, isOver, lastValue, start } from "./store.js";
import { across, axisTitle, columnsOf } from "./rows.js";
import { addPanel, focused } from "./panels.js";
import { chart } from "./figure.js";
import { firstFrom } from "./axes.js";
import { lookCloser, want } from "./source.js";
import { smooth, smoothingSteps } from "./smoothing.js";

const GIGABYTE = 1e-9;
const FEW_RUNS = 8; // up to which the values as measured are drawn as well
const MOST_MARKERS = 60; // of all runs together, up to which each value has one

// Panels of one or two curves a run: `series` smoothed, `exact` (or `[]`) as points. Values are multiplied by `scale`,
// the axis is titled `title`, hovers say `unit`. `log` permits a logarithmic axis, `zero` makes it include 0,
// `smoothed: false` leaves out the moving average. `late` announces the panel until it has data; without it the panel
// is hidden.
const PANELS = [
  { title: "Loss", axis: "cross-entropy (nats)", unit: "nats", series: ["train/loss"], exact: ["val/loss"], log: true, late: firstStep },
  { title: "Top-1 accuracy", axis: "% of images", unit: "%", scale: 100, series: ["train/top1"], exact: ["val/top1"], late: firstStep },
  { title: "Top-5 accuracy", axis: "% of images", unit: "%", scale: 100, series: ["train/top5"], exact: ["val/top5"] },
  { title: "Learning rate", axis: "learning rate", series: ["rate"], exact: [], log: true, smoothed: false, late: firstStep },
  { title: "Speed", axis: "images/s", unit: "images/s", series: ["speed"], exact: [], zero: true, late: firstStep },
];

const MACHINE = [
  { title: "Processor", axis: "% (this process: 100 % a core)", unit: "%", names: { "cpu/machine": "machine", "cpu/process": "this process" }, late: firstSample },
  { title: "Memory", axis: "GB", unit: "GB", scale: GIGABYTE, names: { "memory/process": "this process", "memory/available": "still free" }, late: firstSample },
  { title: "GPU", axis: "% of the time", unit: "%", prefix: "gpu" },
  { title: "GPU memory", axis: "GB", unit: "GB", scale: GIGABYTE, prefix: "gpu_memory" },
];

function firstStep(view) {
  return view.runs.some((run) => !isOver(run)) ? "Begins with the first optimizer step." : null;
}

function firstSample(view) {
  const coming = view.runs.some((run) => !isOver(run) && start(run).telemetry_every !== undefined);
  return coming ? "Begins within a few seconds: a sample of the machine." : null;
}

function has(runs, names) {
  return runs.some((run) => names.some((name) => run.names.includes(name)));
}

// The line of a run's curve, without a moving average.
export function plainLine(run, name, scale = 1) {
  const columns = columnsOf(run, name);
  return { x: across(columns), y: columns.mean.map((value) => scale * value), key: run.key };
}

// The lines of a run's curve: the average, and for a few runs the values as measured and the band of their extremes.
function smoothLines(run, name, { scale = 1, smoothed = true }, label, few) {
  const columns = columnsOf(run, name);
  const line = { ...plainLine(run, name, scale), name: label, colour: runColour(run), dash: runDash(run), width: few ? 2 : 1 };
  const constant = smoothed ? smoothingSteps() : 0;
  if (constant === 0) return [line];
  const average = { ...line, y: smooth(columns.step, line.y, constant), measured: line.y };
  if (!few) return [average];
  const raw = { ...line, width: 1, dash: "solid", opacity: 0.3, silent: true };
  if (columns.min) Object.assign(raw, { low: columns.min.map((value) => scale * value), high: columns.max.map((value) => scale * value), band: 0.12 });
  return [raw, average];
}

// The mean over the runs of a group, and the band from the least to the greatest of them, at the places of the longest.
function meanLines(group, name, { scale = 1, smoothed = true }, label) {
  const constant = smoothed ? smoothingSteps() : 0;
  const lines = group.runs.filter((run) => run.curves[name]?.step.length).map((run) => {
    const line = plainLine(run, name, scale);
    return constant && line.x.length > 1 ? { ...line, y: smooth(columnsOf(run, name).step, line.y, constant) } : line;
  });
  if (!lines.length) return [];
  const { x } = lines.reduce((longest, line) => (line.x.at(-1) > longest.x.at(-1) ? line : longest));
  const [y, low, high] = [[], [], []];
  for (const place of x) {
    const values = lines.map((line) => valueAt(line, place)).filter((value) => value !== null);
    y.push(values.reduce((sum, value) => sum + value, 0) / values.length);
    low.push(Math.min(...values));
    high.push(Math.max(...values));
  }
  return [{ x, y, low, high, spoken: lines.length > 1, name: `${group.title || "all"}, mean of ${lines.length}${label}`, colour: paletteColour(group.shade), width: 2, band: 0.18 }];
}

// The value of a line at `place`, interpolated; `null` outside.
function valueAt({ x, y }, place) {
  const right = firstFrom(x, place);
  if (x[right] === place) return y[right];
  if (right === 0 || right === x.length) return null;
  const share = (place - x[right - 1]) / (x[right] - x[right - 1]);
  return y[right - 1] + share * (y[right] - y[right - 1]);
}

function spoken(title, runs, names, scale = 1) {
  if (runs.length > 4) return `${title} of ${runs.length} runs`;
  const all = runs.map((run) => {
    const values = names.filter((name) => run.names.includes(name)).map((name) => `${name} ${number(scale * lastValue(run, name))}`);
    return `${run.title}: ${values.join(", ")} at step ${run.standing.step}`;
  });
  return `${title}. ${all.join("; ")}`;
}

export function addTraining(section) {
  for (const panel of PANELS) {
    const names = [...panel.series, ...panel.exact];
    addPanel(section, {
      title: panel.title,
      has: (view) => has(view.runs, names),
      coming: panel.late,
      draw(body, view) {
        want(view.runs, names);
        lookCloser(view.runs, PANELS.flatMap(({ series }) => series), choices.zoom);
        chart(body, {
          lines: choices.mean ? meansOf(panel, view) : linesOf(panel, view),
          xTitle: axisTitle(),
          yTitle: panel.axis,
          unit: panel.unit,
          log: panel.log && choices.log,
          zero: panel.zero,
          robust: !choices.outliers,
          legend: panel.exact.length ? kinds() : undefined,
          label: spoken(panel.title, view.runs, names, panel.scale),
        });
      },
    });
  }
  addPanel(section, {
    title: "Time of a step",
    of: focused,
    has: (view) => view.focus && has([view.focus], ["time/compute"]),
    draw: drawTime,
  });
}

function kinds() {
  return [{ name: "training", colour: "currentColor" }, { name: "validation", colour: "currentColor", dash: "dot" }];
}

function linesOf(panel, { runs }) {
  const few = runs.length <= FEW_RUNS;
  const exact = panel.exact.flatMap((name) => runs.filter((run) => run.curves[name]?.step.length).map((run) => [run, name]));
  const marks = exact.reduce((sum, [run, name]) => sum + run.curves[name].step.length, 0) <= MOST_MARKERS;
  const kind = panel.exact.length ? "training" : "";
  const titled = (run, text) => [runs.length > 1 ? run.title : "", text].filter(Boolean).join(" ") || panel.title.toLowerCase();
  const curves = runs.flatMap((run) => panel.series.filter((name) => run.curves[name]?.step.length).flatMap((name) => smoothLines(run, name, panel, titled(run, kind), few)));
  const points = exact.map(([run, name]) => ({ ...plainLine(run, name, panel.scale), name: titled(run, "validation"), colour: runColour(run), dash: "dot", width: few ? 1.5 : 1, marks, opacity: few ? 1 : 0.8 }));
  return [...curves, ...points];
}

function meansOf(panel, { groups }) {
  const curves = panel.series.flatMap((name) => groups.flatMap((group) => meanLines(group, name, panel, panel.exact.length ? ", training" : "")));
  const points = panel.exact.flatMap((name) => groups.flatMap((group) => meanLines(group, name, { ...panel, smoothed: false }, ", validation")));
  return [...curves, ...points.map((line) => ({ ...line, dash: "dot", band: 0.1 }))];
}

// Waiting for data on top of computing, for the run in focus.
function drawTime(body, view) {
  const run = view.focus;
  want([run], ["time/compute", "time/wait"]);
  const parts = [["time/compute", "computing", 0], ["time/wait", "waiting for data", 1]];
  const lines = parts.map(([name, label, shade]) => ({ ...plainLine(run, name, 1000), key: undefined, name: label, colour: paletteColour(shade), width: 1, stack: true }));
  const [compute, wait] = lines.map(({ y }) => y.reduce((sum, value) => sum + value, 0));
  chart(body, {
    lines,
    legend: lines,
    xTitle: axisTitle(),
    yTitle: "ms",
    unit: "ms",
    zero: true,
    robust: !choices.outliers,
    label: `Time of a step of ${run.title}: ${percent(wait / (compute + wait))} of it waiting for data`,
  });
}

export function addMachine(section) {
  for (const panel of MACHINE) {
    const names = (run) => panel.names ?? Object.fromEntries(below(run, panel.prefix).map((name) => [name, `GPU ${name.split("/")[1]}`]));
    addPanel(section, {
      title: panel.title,
      of: focused,
      has: (view) => view.focus && has([view.focus], Object.keys(names(view.focus))),
      coming: panel.late,
      draw(body, view) {
        const own = names(view.focus);
        want([view.focus], Object.keys(own));
        const lines = Object.entries(own).map(([name, label], index) => ({ ...plainLine(view.focus, name, panel.scale), key: undefined, name: label, colour: paletteColour(index), dash: index ? "dash" : "solid" }));
        chart(body, { lines, legend: lines, xTitle: axisTitle(), yTitle: panel.axis, unit: panel.unit, zero: true, robust: !choices.outliers, label: spoken(panel.title, [view.focus], Object.keys(own), panel.scale) });
      },
    });
  }
}
