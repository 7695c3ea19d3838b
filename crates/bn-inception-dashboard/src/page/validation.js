// The panels of a validation: confusions, classes, samples, filters, Grad-CAM.
import { element, percent } from "./format.js";
import { paletteColour } from "./theme.js";
import { isOver, label } from "./store.js";
import { addPanel, ofCell } from "./panels.js";
import { chart } from "./figure.js";

const MATRIX_CLASSES = 30;
const BARS = 25;

function afterValidation(view) {
  return view.runs.some((run) => !isOver(run)) ? "Comes with the first validation, at the end of an epoch." : null;
}

export function addValidation(section, redraw) {
  const cell = (name) => (view) => Boolean(view.focus?.details.cells[name]);
  addPanel(section, { title: "Confusions", of: ofCell("confusion"), note: "Of the images of a row's class, how many were taken for a column's.", bodyClass: "tall", has: cell("confusion"), coming: afterValidation, draw: drawConfusion });
  addPanel(section, { title: "Accuracy by class", of: ofCell("classes"), bodyClass: "tall", has: cell("classes"), coming: afterValidation, draw: drawClasses });
  addSamples(section, redraw);
  const key = (name, step) => (view) => [view.focus.key, step(view.focus.details.cells[name])];
  addPanel(section, { title: "First-layer filters", of: ofCell("filters"), has: cell("filters"), coming: afterValidation, key: key("filters", ({ step }) => step), draw: drawFilters });
  addPanel(section, {
    title: "Grad-CAM",
    of: ofCell("grad_cam"),
    note: "Where the network sees the class it predicts: the image, and the same with the evidence bright.",
    has: cell("grad_cam"),
    coming: afterValidation,
    key: key("grad_cam", ({ step }) => step),
    draw: drawEvidence,
  });
}

// A matrix of few classes, or the most frequent mistakes of many.
function drawConfusion(body, view) {
  const [step, confusion] = view.focus.details.cells.confusion;
  const matrix = confusion.matrix;
  if (matrix && matrix.length <= MATRIX_CLASSES) drawMatrix(body, view.focus, matrix, step);
  else drawMistakes(body, view.focus, confusion.top ?? mistakes(matrix), step);
}

function drawMatrix(body, run, matrix, step) {
  // Classes are told apart by their index: two may have the same name.
  const labels = matrix.map((_, index) => label(run, index));
  const z = matrix.map((row) => {
    const total = row.reduce((sum, count) => sum + count, 0) || 1;
    return row.map((count) => (100 * count) / total);
  });
  const hover = (row, column) => ({
    title: labels[row],
    rows: [{ text: `taken for ${labels[column]}:` }, { text: `${matrix[row][column]} images, ${z[row][column].toFixed(1)} %` }],
  });
  chart(body, { kind: "heat", z, x: labels, y: labels, most: 100, xTitle: "predicted class", zTitle: "% of the class", hover, label: `Confusion matrix of ${run.title} at step ${step}` });
}

function mistakes(matrix) {
  const pairs = matrix.flatMap((row, c) => row.map((count, p) => ({ class: c, predicted: p, count })));
  return pairs.filter((pair) => pair.class !== pair.predicted && pair.count > 0).sort((a, b) => b.count - a.count);
}

function drawMistakes(body, run, pairs, step) {
  const shown = pairs.slice(0, BARS);
  const names = shown.map((pair) => `${label(run, pair.class)} → ${label(run, pair.predicted)}`);
  bars(body, names, shown.map((pair) => pair.count), "images (true → predicted)", `Most frequent mistakes of ${run.title} at step ${step}`);
}

function drawClasses(body, view) {
  const [step, classes] = view.focus.details.cells.classes;
  const rows = classes.map(({ correct, total }, index) => ({ name: label(view.focus, index), share: total ? (100 * correct) / total : NaN }));
  const sorted = rows.filter((row) => Number.isFinite(row.share)).sort((a, b) => a.share - b.share).slice(0, BARS);
  const worst = rows.length > BARS ? ` (the worst ${BARS} of ${rows.length})` : "";
  bars(body, sorted.map((row) => row.name), sorted.map((row) => row.share), `% classified rightly${worst}`, `Accuracy by class of ${view.focus.title} at step ${step}`);
}

function bars(body, names, values, title, spoken) {
  const all = names.map((name, index) => ({ name, value: values[index], colour: paletteColour(0), text: String(Number(values[index].toFixed(1))) }));
  chart(body, { kind: "bars", bars: all, title, label: spoken });
}

function picture({ mime, data, width, height }, alt) {
  // Images only: the log may come from anywhere.
  const known = ["image/jpeg", "image/png"].includes(mime);
  return element("img", { src: known ? `data:${mime};base64,${data}` : "", alt, width, height, loading: "lazy" });
}

function verdict(run, { file, class: truth, predicted, probability }) {
  const right = truth === predicted;
  return [
    element("p", {}, [
      element("span", { className: right ? "verdict right" : "verdict", textContent: right ? "✓ " : "✗ " }),
      `${label(run, predicted)} ${percent(probability, 0)}`,
    ]),
    right ? null : element("p", { className: "faint", textContent: `is: ${label(run, truth)}` }),
    element("p", { className: "faint", title: file, textContent: file.split("/").at(-1) }),
  ];
}

function addSamples(section, redraw) {
  const filter = element("select", { "aria-label": "Which samples" }, [["all", "all"], ["wrong", "wrong ones"], ["right", "right ones"]].map(([value, textContent]) => element("option", { value, textContent })));
  filter.addEventListener("change", redraw);
  addPanel(section, {
    title: "Sample predictions",
    of: ofCell("samples"),
    wide: true,
    tools: element("div", { className: "tools" }, [filter]),
    has: (view) => Boolean(view.focus?.details.cells.samples),
    coming: afterValidation,
    key: (view) => [view.focus.key, view.focus.details.cells.samples[0], filter.value],
    draw(body, view) {
      const [, samples] = view.focus.details.cells.samples;
      const shown = samples.filter((sample) => filter.value === "all" || sample.correct === (filter.value === "right"));
      const cards = shown.map((sample) => element("li", { className: sample.correct ? "" : "wrong" }, [picture(sample.thumbnail, sample.file), ...verdict(view.focus, sample)]));
      const none = element("p", { className: "faint", textContent: "None of these." });
      body.replaceChildren(cards.length ? element("ul", { className: "cards" }, cards) : none);
    },
  });
}

function drawFilters(body, view) {
  const { filters } = view.focus.details.cells;
  const image = picture(filters.picture, `${filters.filters} filters of ${filters.layer}`);
  image.className = "filters";
  const note = element("p", { className: "note", textContent: `${filters.filters} filters of ${filters.layer} at step ${filters.step}, each scaled to its own range.` });
  body.replaceChildren(note, image);
}

function drawEvidence(body, view) {
  const run = view.focus;
  const { step, layer, overlays } = run.details.cells.grad_cam;
  const cards = overlays.map((overlay) => {
    const pair = element("div", { className: "pair" }, [picture(overlay.image, overlay.file), picture(overlay.overlay, `evidence for ${label(run, overlay.predicted)}`)]);
    return element("li", { className: overlay.class === overlay.predicted ? "" : "wrong" }, [pair, ...verdict(run, overlay)]);
  });
  body.replaceChildren(element("p", { className: "note", textContent: `Step ${step}, activations of ${layer}.` }), element("ul", { className: "cards" }, cards));
}
