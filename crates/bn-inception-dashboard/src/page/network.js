// The panels of gradients, updates, activations and histograms.
import { element, literal } from "./format.js";
import { cssColour, faded, ordered, runColour, runDash } from "./theme.js";
import { below, isOver, start } from "./store.js";
import { addPanel, chart, focused, hover, trace } from "./charts.js";

const KINDS = { weights: "weights", gamma: "γ (scales)", beta: "β (shifts)" };

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
    has: (view) => view.focus && (below(view.focus, "gradient").length > 0 || view.focus.series.gradient?.length > 0),
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
    note: "What a layer's non-linearity gets, for fixed validation images: the median, and the band from the 15th to the 85th percentile. Steady bands are what batch normalisation is for.",
    wide: true,
    bodyClass: "small",
    has: (view) => view.runs.some((run) => below(run, "activation").length > 0),
    coming: (view) => later(view, "The first measurement"),
    draw: drawActivations,
  });
  addHistograms(section, redraw);
}

function drawBlocks(body, run, prefix, unit) {
  const known = below(run, prefix);
  const blocks = order(run, 0).filter((block) => known.includes(`${prefix}/${block}`));
  const traces = blocks.map((block, index) => {
    const color = ordered(index, blocks.length);
    return { ...trace(run.series[`${prefix}/${block}`]), name: literal(block), hovertemplate: hover(), line: { color, width: 1.5 }, marker: { color } };
  });
  const whole = run.series[prefix] ?? [];
  if (whole.length) {
    traces.push({ ...trace(whole), name: "whole network", hovertemplate: hover(), mode: "lines", line: { color: faded(runColour(1), 0.6), width: 2.5 } });
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
    const traces = shown.flatMap((run) => band(run, layer, shown.length > 1 ? literal(run.name) : "median"));
    chart(place, traces, { y: { title: { text: "pre-activation" } }, label: `Percentiles of the pre-activations of ${layer}`, showlegend: shown.length > 1 });
  }
}

function band(run, layer, name) {
  const percentile = (which) => ({ ...trace(run.series[`activation/${layer}/${which}`] ?? []), hovertemplate: hover(), legendgroup: run.key });
  const [color, dash] = [runColour(run.index), runDash(run.index)];
  const edge = { line: { width: 1, color: faded(color, 0.5), dash }, showlegend: false };
  return [
    { ...percentile(15), ...edge, name: "15th percentile", marker: { color, symbol: "triangle-up" } },
    { ...percentile(85), ...edge, name: "85th percentile", marker: { color, symbol: "triangle-down" }, fill: "tonexty", fillcolor: faded(color, 0.2) },
    { ...percentile(50), name, line: { color, width: 2, dash }, marker: { color } },
  ];
}

function addHistograms(section, redraw) {
  const kind = element("select", { "aria-label": "What" }, Object.entries(KINDS).map(([value, text]) => element("option", { value, textContent: text })));
  const block = element("select", { "aria-label": "Block" });
  const tools = element("div", { className: "tools" }, [kind, block]);
  tools.addEventListener("change", redraw);
  addPanel(section, {
    title: "Histograms",
    of: focused,
    note: "How the values of a block are spread, over steps.",
    tools,
    has: (view) => view.focus && Object.keys(view.focus.tracks).length > 0,
    coming: (view) => later(view, "The first histogram"),
    draw(body, view) {
      const { tracks } = view.focus;
      const blocks = order(view.focus, 0).filter((name) => `${kind.value}/${name}` in tracks);
      const chosen = blocks.includes(block.value) ? block.value : blocks.at(-1);
      block.replaceChildren(...blocks.map((name) => element("option", { value: name, textContent: name, selected: name === chosen })));
      drawHistograms(body, tracks[`${kind.value}/${chosen}`] ?? [], `${KINDS[kind.value]} of ${literal(chosen)}`);
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
