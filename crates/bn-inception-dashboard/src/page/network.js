// The panels of the network's inside: gradients, updates, activations, histograms, filters.
import { element } from "./format.js";
import { cssColour, faded, ordered, runColour, runDash } from "./theme.js";
import { below, isOver, start } from "./store.js";
import { across, addPanel, chart } from "./charts.js";

const KINDS = { weights: "weights", gamma: "γ (scales)", beta: "β (shifts)" };

function later(view, what) {
  const run = view.runs.find((candidate) => !isOver(candidate) && start(candidate).telemetry_every > 0);
  return run ? `${what} comes after step ${start(run).telemetry_every}, and every ${start(run).telemetry_every} steps from there.` : null;
}

// Names of the blocks, or of the layers watched, in forward order.
function order(run, which) {
  return run.cells.layers?.[which] ?? [];
}

export function addNetwork(section) {
  addPanel(section, {
    title: "Gradient norm by block",
    note: "Euclidean norm before clipping; dark is near the input, bright near the output, thick is the whole network.",
    has: (view) => view.focus && (below(view.focus, "gradient").length > 0 || view.focus.series.gradient?.length > 0),
    coming: (view) => later(view, "The first measurement"),
    draw: (body, view) => drawBlocks(body, view.focus, "gradient", "gradient norm"),
  });
  addPanel(section, {
    title: "Update to weight ratio by block",
    note: "Norm of a step's change over the norm of the weights; about 10⁻³ is healthy.",
    has: (view) => view.focus && below(view.focus, "update").length > 0,
    coming: (view) => later(view, "The first measurement"),
    draw: (body, view) => drawBlocks(body, view.focus, "update", "‖Δw‖ / ‖w‖"),
  });
  addPanel(section, {
    title: "Activation percentiles",
    note: "What a layer's non-linearity gets, for fixed validation images: the median, and the band from the 15th to the 85th percentile. Steady bands are what batch normalisation is for.",
    wide: true,
    bodyClass: "small",
    has: (view) => view.runs.some((run) => below(run, "activation").length > 0),
    coming: (view) => later(view, "The first measurement"),
    draw: drawActivations,
  });
  addHistograms(section);
}

function drawBlocks(body, run, prefix, unit) {
  const known = below(run, prefix);
  const blocks = order(run, 0).filter((block) => known.includes(`${prefix}/${block}`));
  const traces = blocks.map((block, index) => {
    const rows = run.series[`${prefix}/${block}`];
    return { x: rows.map(across), y: rows.map((row) => row[3]), name: block, mode: rows.length > 1 ? "lines" : "markers", line: { width: 1.5 }, marker: { color: ordered(index, blocks.length) } };
  });
  traces.forEach((trace) => { trace.line.color = trace.marker.color; });
  const whole = run.series[prefix] ?? [];
  if (whole.length) {
    traces.push({ x: whole.map(across), y: whole.map((row) => row[3]), name: "whole network", mode: "lines", line: { color: faded(runColour(1), 0.6), width: 2.5 } });
  }
  const y = { title: { text: unit }, type: "log", exponentformat: "power", dtick: 1 };
  chart(body, traces, { y, hovermode: "closest", label: `${unit} of ${blocks.length} blocks of ${run.name}` });
}

function drawActivations(body, view) {
  const layers = [...new Set(view.runs.flatMap((run) => order(run, 1)))];
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
    const shown = view.runs.filter((run) => run.series[`activation/${layer}/50`]);
    const traces = shown.flatMap((run) => band(run, layer, shown.length > 1 ? run.name : "median"));
    chart(place, traces, { y: { title: { text: "pre-activation" } }, label: `Percentiles of the pre-activations of ${layer}`, showlegend: shown.length > 1 });
  }
}

function band(run, layer, name) {
  const rows = (percentile) => run.series[`activation/${layer}/${percentile}`] ?? [];
  const colour = runColour(run.index);
  const trace = (percentile) => ({ x: rows(percentile).map(across), y: rows(percentile).map((row) => row[3]), mode: "lines", legendgroup: run.key });
  const edge = { line: { width: 1, color: faded(colour, 0.5), dash: runDash(run.index) }, showlegend: false };
  const single = rows(50).length === 1;
  return [
    { ...trace(15), ...edge, name: "15th percentile", mode: single ? "markers" : "lines", marker: { color: colour, symbol: "triangle-up" } },
    { ...trace(85), ...edge, name: "85th percentile", mode: single ? "markers" : "lines", marker: { color: colour, symbol: "triangle-down" }, fill: "tonexty", fillcolor: faded(colour, 0.2) },
    { ...trace(50), name, mode: single ? "markers" : "lines", line: { color: colour, width: 2, dash: runDash(run.index) }, marker: { color: colour } },
  ];
}

function addHistograms(section) {
  const kind = element("select", { "aria-label": "What" }, Object.entries(KINDS).map(([value, text]) => element("option", { value, textContent: text })));
  const block = element("select", { "aria-label": "Block" });
  const tools = element("div", { className: "tools" }, [kind, block]);
  let last = null;
  const draw = (body, view) => {
    last = { body, view };
    const names = Object.keys(view.focus.tracks);
    const blocks = order(view.focus, 0).filter((name) => names.includes(`${kind.value}/${name}`));
    const chosen = blocks.includes(block.value) ? block.value : blocks.at(-1);
    block.replaceChildren(...blocks.map((name) => element("option", { value: name, textContent: name, selected: name === chosen })));
    drawHistograms(body, view.focus.tracks[`${kind.value}/${chosen}`] ?? [], `${KINDS[kind.value]} of ${chosen}`);
  };
  tools.addEventListener("change", () => last && draw(last.body, last.view));
  addPanel(section, {
    title: "Histograms",
    note: "How the values of a block are spread, over steps.",
    tools,
    has: (view) => view.focus && Object.keys(view.focus.tracks).length > 0,
    coming: (view) => later(view, "The first histogram"),
    draw,
  });
}

const BINS = 60;

// One histogram as bars, more as a map over steps, all in the same bins.
function drawHistograms(body, snapshots, title) {
  const shown = snapshots.filter((snapshot) => snapshot.value.counts.length > 0);
  if (!shown.length) return;
  const low = Math.min(...shown.map(({ value }) => value.min));
  const high = Math.max(...shown.map(({ value }) => value.max));
  const width = (high - low) / BINS || 1;
  const centres = Array.from({ length: BINS }, (_, bin) => low + (bin + 0.5) * width);
  const columns = shown.map(({ value }) => rebinned(value, low, width));
  const x = shown.map(({ step }) => step);
  const axis = { x: { title: { text: "optimizer steps" } }, label: `Histogram of ${title}`, hovermode: "closest", uirevision: title };
  if (shown.length === 1) {
    chart(body, [{ type: "bar", x: centres, y: columns[0], marker: { color: runColour(0) }, hovertemplate: "%{x:.4g}: %{y:.2f} %<extra></extra>" }], {
      ...axis,
      x: { title: { text: title } },
      y: { title: { text: "% of values" } },
      bargap: 0,
    });
    return;
  }
  const z = centres.map((_, bin) => columns.map((column) => column[bin]));
  const colorbar = { title: { text: "% of values", side: "right" }, thickness: 10, outlinewidth: 0, tickfont: { color: cssColour("faint") } };
  chart(body, [{ type: "heatmap", x, y: centres, z, colorscale: "Cividis", colorbar, hovertemplate: "step %{x}<br>%{y:.4g}: %{z:.2f} %<extra></extra>" }], {
    ...axis,
    y: { title: { text: title } },
  });
}

// A histogram's counts, in percent, spread over common bins.
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
