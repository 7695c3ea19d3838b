// The panels of gradients, updates, activations and histograms.
import { element, number } from "./format.js";
import { choices, ordered, paletteColour, runColour, runDash } from "./theme.js";
import { below, isOver, start } from "./store.js";
import { across, axisTitle, columnsOf } from "./rows.js";
import { addPanel, focused } from "./panels.js";
import { chart } from "./figure.js";
import { plainLine } from "./curves.js";
import { want } from "./source.js";

const MOST_COMPARED = 4; // runs whose activations are drawn together

const PARTS = { weights: "weights", gamma: "γ (scales)", beta: "β (shifts)" };

function later(view, what) {
  const run = view.runs.find((candidate) => !isOver(candidate) && start(candidate).telemetry_every > 0);
  return run ? `${what} comes after step ${start(run).telemetry_every}, and every ${start(run).telemetry_every} steps from there.` : null;
}

// Names of the blocks (0) or of the layers watched (1), in forward order.
function order(run, which) {
  return run.cells.layers?.[which] ?? [];
}

export function addNetwork(section, redraw) {
  addPanel(section, {
    title: "Gradient norm by block",
    of: focused,
    note: "Euclidean norm before clipping; dark is near the input, bright near the output, thick is the whole network.",
    has: (view) => view.focus && (below(view.focus, "gradient").length > 0 || view.focus.names.includes("gradient")),
    coming: (view) => later(view, "The first measurement"),
    draw: (body, view) => drawBlocks(body, view.focus, "gradient", "gradient norm"),
  });
  addPanel(section, {
    title: "Update to weight ratio by block",
    of: focused,
    note: "Norm of a step's change over the norm of the weights; about 10⁻³ is healthy.",
    has: (view) => view.focus && below(view.focus, "update").length > 0,
    coming: (view) => later(view, "The first measurement"),
    draw: (body, view) => drawBlocks(body, view.focus, "update", "‖Δw‖ / ‖w‖"),
  });
  addPanel(section, {
    title: "Activation percentiles",
    // Several runs are named at their curves.
    of: (view) => (view.runs.length === 1 || view.runs.length > MOST_COMPARED ? focused(view) : null),
    note: "What a layer's non-linearity gets, for fixed validation images: the median, and the band from the 15th to the 85th percentile. Steady bands are what batch normalisation is for.",
    wide: true,
    bodyClass: "small",
    has: (view) => compared(view).some((run) => below(run, "activation").length > 0),
    coming: (view) => later(view, "The first measurement"),
    draw: drawActivations,
  });
  addHistograms(section, redraw);
}

function drawBlocks(body, run, prefix, unit) {
  const known = below(run, prefix);
  const blocks = order(run, 0).filter((block) => known.includes(`${prefix}/${block}`));
  want([run], [...known, prefix]);
  const lines = blocks.map((block, index) => ({ ...plainLine(run, `${prefix}/${block}`), key: undefined, name: block, colour: ordered(index, blocks.length) }));
  if (run.names.includes(prefix)) lines.push({ ...plainLine(run, prefix), key: undefined, name: "whole network", colour: paletteColour(1), opacity: 0.6, width: 2.5 });
  chart(body, { lines, xTitle: axisTitle(), yTitle: unit, log: true, robust: !choices.outliers, label: `${unit} of ${blocks.length} blocks of ${run.title}` });
}

// The runs shown, or of many only that in focus.
function compared(view) {
  return view.runs.length <= MOST_COMPARED ? view.runs : [view.focus].filter(Boolean);
}

function drawActivations(body, view) {
  const runs = compared(view);
  const layers = [...new Set(runs.flatMap((run) => order(run, 1)))];
  for (const run of runs) want([run], below(run, "activation"));
  for (const old of [...body.children]) {
    if (!layers.includes(old.dataset.layer)) old.remove();
  }
  for (const layer of layers) {
    let place = [...body.children].find((child) => child.dataset.layer === layer);
    if (!place) {
      place = element("div", {}, [element("p", { className: "note", textContent: layer })]);
      place.dataset.layer = layer;
      body.append(place);
    }
    const lines = runs.filter((run) => run.curves[`activation/${layer}/50`]).map((run) => band(run, layer));
    chart(place, { lines, xTitle: axisTitle(), yTitle: "pre-activation", robust: !choices.outliers, label: `Percentiles of the pre-activations of ${layer}` });
  }
}

function band(run, layer) {
  const percentile = (which) => columnsOf(run, `activation/${layer}/${which}`);
  const median = percentile(50);
  return { x: across(median), y: median.mean, low: percentile(15).mean, high: percentile(85).mean, band: 0.2, spoken: true, name: `${run.title} median`, colour: runColour(run), dash: runDash(run), width: 2, key: run.key };
}

function addHistograms(section, redraw) {
  const kind = element("select", { "aria-label": "What" }, Object.entries(PARTS).map(([value, text]) => element("option", { value, textContent: text })));
  const block = element("select", { "aria-label": "Block" });
  const tools = element("div", { className: "tools" }, [kind, block]);
  tools.addEventListener("change", redraw);
  addPanel(section, {
    title: "Histograms",
    of: focused,
    note: "How the values of a block are spread, over steps.",
    tools,
    has: (view) => view.focus && Object.keys(view.focus.details.tracks).length > 0,
    coming: (view) => later(view, "The first histogram"),
    draw(body, view) {
      const { tracks } = view.focus.details;
      const blocks = order(view.focus, 0).filter((name) => `${kind.value}/${name}` in tracks);
      const chosen = blocks.includes(block.value) ? block.value : blocks.at(-1);
      block.replaceChildren(...blocks.map((name) => element("option", { value: name, textContent: name, selected: name === chosen })));
      drawHistograms(body, tracks[`${kind.value}/${chosen}`] ?? [], `${PARTS[kind.value]} of ${chosen}`);
    },
  });
}

const BINS = 60;

// One histogram as bars, several as a heat map over steps, all in the same bins.
function drawHistograms(body, snapshots, title) {
  const shown = snapshots.filter((snapshot) => snapshot.value.counts.length > 0);
  if (!shown.length) return;
  const low = Math.min(...shown.map(({ value }) => value.min));
  const high = Math.max(...shown.map(({ value }) => value.max));
  const width = (high - low) / BINS || 1;
  const centres = Array.from({ length: BINS }, (_, bin) => low + (bin + 0.5) * width);
  const columns = shown.map(({ value }) => rebinned(value, low, width));
  if (shown.length === 1) {
    const line = { x: centres, y: columns[0], low: centres.map(() => 0), high: columns[0], band: 0.5, name: title, colour: paletteColour(0) };
    chart(body, { lines: [line], own: true, xTitle: title, yTitle: "% of values", unit: "%", zero: true, robust: false, label: `Histogram of ${title}` });
    return;
  }
  const steps = shown.map(({ step }) => step);
  // The largest values at the top.
  const z = centres.map((_, bin) => columns.map((column) => column[BINS - 1 - bin]));
  const hover = (row, column) => ({ title: `step ${steps[column].toLocaleString("en")}`, rows: [{ text: `${number(centres[BINS - 1 - row])}: ${number(z[row][column])} % of the values` }] });
  chart(body, { kind: "heat", z, x: steps.map((step) => step.toLocaleString("en")), rows: centres.toReversed(), yRange: [low, high], xTitle: "optimizer steps", yTitle: title, zTitle: "% of values", hover, label: `Histograms of ${title} over steps` });
}

// The counts of a histogram in percent, distributed over common bins.
function rebinned({ min, max, counts }, low, width) {
  const column = new Array(BINS).fill(0);
  const total = counts.reduce((sum, count) => sum + count, 0) || 1;
  const own = (max - min) / counts.length;
  counts.forEach((count, index) => {
    const share = (100 * count) / total;
    const [from, to] = [(min + index * own - low) / width, (min + (index + 1) * own - low) / width];
    const first = Math.max(0, Math.min(BINS - 1, Math.floor(from)));
    const last = Math.max(first, Math.min(BINS - 1, Math.ceil(to) - 1));
    for (let bin = first; bin <= last; bin += 1) {
      const overlap = last === first ? 1 : (Math.min(to, bin + 1) - Math.max(from, bin)) / (to - from);
      column[bin] += share * overlap;
    }
  });
  return column;
}
