// The panels of training curves and of the machine.
import { literal, number, percent } from "./format.js";
import { runColour, choices, faded } from "./theme.js";
import { below, isOver, lastValue, start } from "./store.js";
import { addPanel, chart, curve, focused, hover, points, trace } from "./charts.js";

const GIGABYTE = 1e-9;

// Panels of one or two series a run: `series` drawn as curves, `exact` (or `[]`) as points. Values are multiplied by
// `scale`, the axis is titled `unit`, short for hovers: `short`. `log` permits a logarithmic axis, `zero` makes it include 0, `smoothed: false`
// leaves out the moving average. `late` announces the panel until it has data; without it the panel is hidden.
const PANELS = [
  { id: "loss", title: "Loss", unit: "cross-entropy (nats)", short: "nats", series: ["train/loss"], exact: ["val/loss"], log: true, late: firstStep },
  { id: "top1", title: "Top-1 accuracy", unit: "% of images", short: "%", scale: 100, series: ["train/top1"], exact: ["val/top1"], late: firstStep },
  { id: "top5", title: "Top-5 accuracy", unit: "% of images", short: "%", scale: 100, series: ["train/top5"], exact: ["val/top5"] },
  { id: "rate", title: "Learning rate", unit: "learning rate", series: ["rate"], exact: [], log: true, smoothed: false, late: firstStep },
  { id: "speed", title: "Speed", unit: "images/s", short: "images/s", series: ["speed"], exact: [], zero: true, late: firstStep },
];

const MACHINE = [
  { id: "cpu", title: "Processor", unit: "% (this process: 100 % a core)", short: "%", names: { "cpu/machine": "machine", "cpu/process": "this process" }, late: firstSample },
  { id: "memory", title: "Memory", unit: "GB", short: "GB", scale: GIGABYTE, names: { "memory/process": "this process", "memory/available": "still free" }, late: firstSample },
  { id: "gpu", title: "GPU", unit: "% of the time", short: "%", prefix: "gpu" },
  { id: "gpu-memory", title: "GPU memory", unit: "GB", short: "GB", scale: GIGABYTE, prefix: "gpu_memory" },
];

function firstStep(view) {
  return view.runs.some((run) => !isOver(run)) ? "Begins with the first optimizer step." : null;
}

function firstSample(view) {
  const coming = view.runs.some((run) => !isOver(run) && start(run).telemetry_every !== undefined);
  return coming ? "Begins within a few seconds: a sample of the machine." : null;
}

function has(view, names) {
  return view.runs.some((run) => names.some((name) => run.series[name]?.length));
}

function spoken(title, view, names, scale = 1) {
  const runs = view.runs.map((run) => {
    const values = names.filter((name) => run.series[name]).map((name) => `${name} ${number(scale * lastValue(run, name))}`);
    return `${run.name}: ${values.join(", ")} at step ${run.standing.step}`;
  });
  return `${title}. ${runs.join("; ")}`;
}

export function addTraining(section) {
  for (const panel of PANELS) {
    const names = [...panel.series, ...panel.exact];
    addPanel(section, {
      title: panel.title,
      has: (view) => has(view, names),
      coming: panel.late,
      draw(body, view) {
        const { scale = 1, short: unit, smoothed = true } = panel;
        const traces = view.runs.flatMap((run) => {
          const prefix = view.runs.length > 1 ? `${literal(run.name)} ` : "";
          const train = panel.exact.length ? "training" : panel.title.toLowerCase();
          const curves = panel.series.flatMap((name) => curve(run, name, { scale, smoothed, unit, label: prefix + train }));
          return [...curves, ...panel.exact.filter((name) => run.series[name]).map((name) => points(run, name, { scale, unit, label: `${prefix}validation` }))];
        });
        const type = panel.log && choices.log ? "log" : "linear";
        const y = { title: { text: panel.unit }, type, rangemode: panel.zero ? "tozero" : "normal", exponentformat: "power" };
        chart(body, traces, { y, label: spoken(panel.title, view, names, scale) });
      },
    });
  }
  addPanel(section, {
    title: "Time of a step",
    of: focused,
    has: (view) => has(view.focused, ["time/compute"]),
    draw: drawTime,
  });
}

// Waiting for data on top of computing, for the run in focus.
function drawTime(body, view) {
  const run = view.focus;
  const parts = [["time/compute", "computing", runColour(0), "\\"], ["time/wait", "waiting for data", runColour(1), ""]];
  const traces = parts.map(([name, label, colour, shape]) => ({
    ...trace(run.series[name], 1000),
    name: label,
    hovertemplate: hover("ms"),
    stackgroup: "time",
    mode: "lines",
    line: { color: colour, width: 1 },
    fillcolor: faded(colour, 0.5),
    fillpattern: shape ? { shape, size: 6, solidity: 0.15 } : undefined,
  }));
  const total = (name) => run.series[name].reduce((sum, row) => sum + row[3], 0);
  const share = total("time/wait") / (total("time/wait") + total("time/compute"));
  const label = `Time of a step of ${run.name}: ${percent(share)} of it waiting for data`;
  chart(body, traces, { y: { title: { text: "ms" }, rangemode: "tozero" }, label, showlegend: true });
}

export function addMachine(section) {
  for (const panel of MACHINE) {
    const names = (run) => panel.names ?? Object.fromEntries(below(run, panel.prefix).map((name) => [name, `GPU ${name.split("/")[1]}`]));
    addPanel(section, {
      title: panel.title,
      of: focused,
      has: (view) => view.focus && has(view.focused, Object.keys(names(view.focus))),
      coming: panel.late,
      draw(body, view) {
        const traces = Object.entries(names(view.focus)).map(([name, label], index) => {
          const line = { color: runColour(index), width: 2, dash: index ? "dash" : "solid" };
          return { ...trace(view.focus.series[name] ?? [], panel.scale), name: label, hovertemplate: hover(panel.short), line };
        });
        chart(body, traces, { y: { title: { text: panel.unit }, rangemode: "tozero" }, robust: false, label: spoken(panel.title, { runs: [view.focus] }, Object.keys(names(view.focus)), panel.scale) });
      },
    });
  }
}
