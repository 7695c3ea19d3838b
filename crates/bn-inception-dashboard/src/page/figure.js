// A chart on the page: its canvas, what is under the pointer, and its part of the common horizontal axis.
import { csv, element, number } from "./format.js";
import { choices, cssColour, lineSample } from "./theme.js";
import { firstFrom, scale, ticks } from "./axes.js";
import { canvasSurface, svgSurface } from "./surface.js";
import { linesAt, paintLines, spanOf, verticalRange } from "./lines.js";
import { MARKS } from "./marks.js";

const NEAREST = 8; // lines that a hover names
const NEAR = 14; // pixels
const shown = new Set(); // the figures on the page
let common = { span: [0, 1], across: null }; // of the charts of training: their range, and where the pointer is
let moving = null; // the figure whose range is being moved
let highlighted = null; // key of the run that is drawn before the others
let zoomed = () => {};
let lightedUp = () => {};

// Sets what is called with a range of the common axis (`null` for all of it), and with the key of a run pointed at.
export function onPointing(zoom, light) {
  [zoomed, lightedUp] = [zoom, light];
}

// Sets the common range: all that is shown, in the unit of the axis.
export function setSpan(span) {
  common.span = span;
}

// Draws one run before the others; with `null` all alike.
export function highlight(key) {
  if (highlighted === key) return;
  highlighted = key;
  repaintAll();
}

export function figuresIn(place) {
  return [...place.querySelectorAll(".chart")].map((one) => one.figure).filter(Boolean);
}

// Draws `model` in `body`: lines (see lines.js) with `xTitle`, `yTitle`, `unit`, `label`, or marks (`kind`, see
// marks.js). The axis of lines is the common one unless the model has `own: true`.
export function chart(body, model) {
  let place = body.querySelector(":scope > .chart");
  if (!place) {
    place = element("div", { className: "chart", role: "img", tabIndex: 0 }, [element("canvas"), element("canvas", { className: "over" })]);
    body.append(place);
    place.figure = { place, model, across: null, box: null };
    sized.observe(place);
    sighted.observe(place);
    listen(place.figure);
  }
  place.setAttribute("aria-label", model.label);
  const figure = place.figure;
  figure.model = model;
  const high = MARKS[model.kind]?.height?.(model);
  place.style.height = high ? `${high}px` : "";
  drawLegend(body, model);
  repaint(figure);
  return figure;
}

function drawLegend(body, { legend }) {
  let place = body.querySelector(":scope > .legend");
  if (!legend) return void place?.remove();
  if (!place) {
    place = element("p", { className: "legend" });
    body.prepend(place);
  }
  place.replaceChildren(...legend.map(({ name, colour, dash }) => element("span", {}, [lineSample(colour, dash), name])));
}

const sized = new ResizeObserver((entries) => entries.forEach(({ target }) => repaint(target.figure)));
const sighted = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.figure.inSight = isIntersecting;
    if (isIntersecting && target.figure.stale) repaint(target.figure);
  }
}, { rootMargin: "100px" });
let queued = false;

const FOLLOWING = 150; // milliseconds that charts may lag behind the one that is being moved

let following = null;

// Paints all charts again, as the common range has changed: that under the pointer at once.
export function repaintAll() {
  if (!moving) return shown.forEach(repaint);
  repaint(moving);
  following ??= setTimeout(() => {
    following = null;
    shown.forEach(repaint);
  }, FOLLOWING);
  return undefined;
}

function repaint(figure) {
  shown.add(figure);
  figure.stale = true;
  if (queued) return;
  queued = true;
  requestAnimationFrame(paintNow);
}

// Puts an SVG picture in the place of each canvas, or takes them away again: browsers print what a canvas showed last on
// the screen, in its colours and size.
export function printPictures(wanted) {
  for (const figure of shown) {
    figure.place.querySelector("svg")?.remove();
    if (!wanted || !figure.place.clientWidth) continue;
    const picture = new DOMParser().parseFromString(svgOf(figure), "image/svg+xml");
    figure.place.append(document.importNode(picture.documentElement, true));
  }
}

// Paints what has changed and is in sight.
function paintNow() {
  queued = false;
  for (const one of shown) {
    if (!one.place.isConnected) shown.delete(one);
    else if (one.stale && one.inSight) paintFigure(one);
  }
}

function colours() {
  return { text: cssColour("text"), faint: cssColour("faint"), line: cssColour("line"), card: cssColour("card"), lit: highlighted };
}

// Draws a model on a surface. Returns its frame and scales.
function paintModel(surface, model, width, height, look) {
  const marks = MARKS[model.kind];
  if (marks) {
    const box = marks.frame(model, width, height);
    marks.paint(surface, model, box, look);
    return { box };
  }
  const span = rangeOf(model);
  // While the range moves, the heights stay: no chart jumps under the pointer.
  if (!moving || !model.heights) model.heights = verticalRange(model, span);
  const { low, high, note } = model.heights;
  const box = { left: 54, right: width - 18, top: 18, bottom: height - 36 };
  const up = scale(low, high, box.bottom, box.top, model.log);
  const across = scale(...span, box.left, box.right);
  for (const { value, text } of ticks(up, (box.bottom - box.top) / 40)) {
    surface.line([box.left, up.place(value), box.right, up.place(value)], { colour: look.line });
    surface.text(box.left - 6, up.place(value), text, { colour: look.faint, align: "right" });
  }
  for (const { value, text } of ticks(across, (box.right - box.left) / 80)) {
    surface.line([across.place(value), box.top, across.place(value), box.bottom], { colour: look.line });
    surface.text(across.place(value), box.bottom + 11, text, { colour: look.faint, align: "center" });
  }
  surface.text((box.left + box.right) / 2, box.bottom + 27, model.xTitle, { colour: look.faint, align: "center" });
  surface.text(11, (box.top + box.bottom) / 2, model.yTitle, { colour: look.faint, align: "center", angle: -90 });
  if (note) surface.text(box.left + 2, 8, note, { colour: look.faint });
  surface.clipped(box.left, box.top - 1, box.right - box.left, box.bottom - box.top + 2, () => paintLines(surface, model, across, up, look));
  return { box, across, up, note };
}

function rangeOf(model) {
  if (model.own) return model.ownZoom ?? spanOf(model.lines);
  return choices.zoom ?? common.span;
}

function paintFigure(figure) {
  const { place, model } = figure;
  const { clientWidth: width, clientHeight: height } = place;
  if (!width || !height) return;
  figure.stale = false;
  const ratio = Math.max(1, devicePixelRatio);
  for (const canvas of place.querySelectorAll("canvas")) {
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  }
  const context = place.firstChild.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  Object.assign(figure, paintModel(canvasSurface(context), model, width, height, colours()));
  paintOver(figure);
}

// The pointer's vertical line, the points at it, and the range that is being chosen.
function paintOver(figure) {
  const { place, box, across, up, model, chosen } = figure;
  const context = place.children[1].getContext("2d");
  const ratio = Math.max(1, devicePixelRatio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, place.clientWidth, place.clientHeight);
  if (!across || !box) return;
  const surface = canvasSurface(context);
  const look = colours();
  if (chosen) surface.rect(Math.min(...chosen), box.top, Math.abs(chosen[1] - chosen[0]), box.bottom - box.top, { colour: cssColour("accent"), opacity: 0.2 });
  const x = model.own ? figure.pointed : common.across;
  if (x === null || x === undefined || x < across.low || x > across.high) return;
  const pixel = across.place(x);
  surface.line([pixel, box.top, pixel, box.bottom], { colour: look.faint });
  for (const { line, index } of figure.named ?? []) {
    const y = up.place(line.y[index]);
    if (y >= box.top && y <= box.bottom) surface.rect(across.place(line.x[index]) - 3, y - 3, 6, 6, { colour: line.colour });
  }
}

function point(figure, x) {
  if (figure.model.own) figure.pointed = x;
  else common.across = x;
  for (const one of figure.model.own ? [figure] : shown) if (one.across) paintOver(one);
}

// What the hover says of lines at a pixel: the nearest of them.
function linesNear(figure, px, py) {
  const { model, across, up } = figure;
  const x = across.value(px);
  const reach = Math.abs(across.value(px + NEAR) - x);
  const found = linesAt(model, x, reach).map((hit) => ({ ...hit, far: Math.abs(up.place(hit.line.y[hit.index]) - py) })).filter(({ far }) => Number.isFinite(far));
  found.sort((a, b) => a.far - b.far);
  const nearest = found.slice(0, NEAREST);
  figure.named = nearest;
  const rows = [...nearest].sort((a, b) => b.line.y[b.index] - a.line.y[a.index]).map(({ line, index }) => ({ colour: line.colour, dash: line.dash, text: spokenPoint(model, line, index) }));
  if (found.length > nearest.length) rows.push({ text: `and ${found.length - nearest.length} more` });
  const at = nearest[0] ? nearest[0].line.x[nearest[0].index] : x;
  const close = nearest[0] && nearest[0].far < NEAR ? nearest[0].line.key : null;
  return rows.length ? { title: `${number(at)} ${model.xTitle}`, rows, key: close, x: at } : null;
}

function spokenPoint({ unit = "" }, line, index) {
  const value = `${number(line.y[index])} ${unit}`.trim();
  const raw = line.measured ? ` (measured ${number(line.measured[index])})` : "";
  const spread = line.low && line.spoken ? ` (${number(line.low[index])} to ${number(line.high[index])})` : "";
  return `${line.name}: ${value}${raw}${spread}`;
}

const tip = element("div", { className: "tip", hidden: true, role: "presentation" });

function showTip(found, event) {
  if (!tip.isConnected) document.body.append(tip);
  tip.hidden = !found;
  if (!found) return;
  const rows = found.rows.map(({ colour, dash, text }) => element("div", {}, [colour ? lineSample(colour, dash) : null, text]));
  tip.replaceChildren(element("b", { textContent: found.title }), ...rows);
  const { offsetWidth: width, offsetHeight: height } = tip;
  const left = event.clientX + 16 + width < innerWidth ? event.clientX + 16 : Math.max(4, event.clientX - 16 - width);
  tip.style.left = `${left}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - height - 4))}px`;
}

// Shows what is at a pixel of the chart.
function hoverAt(figure, px, py, event) {
  const marks = MARKS[figure.model.kind];
  const found = marks ? marks.at(figure.model, figure.box, px, py) : linesNear(figure, px, py);
  if (!marks) point(figure, found?.x ?? null);
  showTip(found, event);
  if (found?.key !== undefined) lightedUp(found.key);
}

function leave(figure) {
  figure.named = null;
  tip.hidden = true;
  point(figure, null);
  lightedUp(null);
}

// Shows only a range of the axis; all of it with `null`.
function zoomTo(figure, range) {
  if (!figure.model.own) return zoomed(range);
  figure.model.ownZoom = range;
  return repaint(figure);
}

// The range moved by `share` of its width and stretched by `factor` about the value `about`.
function moved(figure, share, factor = 1, about = null) {
  const [low, high] = rangeOf(figure.model);
  const middle = about ?? (low + high) / 2;
  const shift = share * (high - low);
  const [least, most] = figure.model.own ? spanOf(figure.model.lines) : common.span;
  const width = Math.min((high - low) * factor, most - least);
  const begin = Math.min(Math.max(middle - (middle - low) * factor + shift, least), most - width);
  return width >= (most - least) * 0.999 ? null : [begin, begin + width];
}

const KEYS = { ArrowLeft: [-0.2], ArrowRight: [0.2], "+": [0, 0.5], "=": [0, 0.5], "-": [0, 2] };

function listen(figure) {
  const { place } = figure;
  const at = (event) => {
    const { left, top } = place.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  let pressed = null;
  place.addEventListener("pointerdown", (event) => {
    if (!figure.across || event.button || event.pointerType === "touch") return;
    tip.hidden = true;
    pressed = { x: at(event)[0], pans: event.shiftKey, range: rangeOf(figure.model) };
    place.setPointerCapture(event.pointerId);
  });
  place.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (!pressed) return hoverAt(figure, x, y, event);
    if (pressed.pans) {
      moving = figure;
      const { across } = figure;
      const [low, high] = pressed.range;
      const shift = ((pressed.x - x) / (across.to - across.from)) * (high - low);
      const [least, most] = figure.model.own ? spanOf(figure.model.lines) : common.span;
      const begin = Math.min(Math.max(low + shift, least), Math.max(least, most - (high - low)));
      return zoomTo(figure, [begin, begin + high - low]);
    }
    figure.chosen = [pressed.x, x].map((one) => Math.min(Math.max(one, figure.box.left), figure.box.right));
    return paintOver(figure);
  });
  place.addEventListener("pointerup", () => {
    const { chosen, across } = figure;
    [pressed, figure.chosen] = [null, null];
    if (moving) {
      moving = null;
      repaintAll();
    }
    if (chosen && Math.abs(chosen[1] - chosen[0]) > 4) zoomTo(figure, chosen.map(across.value).sort((a, b) => a - b));
    else paintOver(figure);
  });
  place.addEventListener("pointerleave", () => pressed || leave(figure));
  place.addEventListener("pointercancel", () => { [pressed, figure.chosen, moving] = [null, null, null]; });
  place.addEventListener("dblclick", () => figure.across && zoomTo(figure, null));
  place.addEventListener("wheel", (event) => {
    if (!figure.across || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    zoomTo(figure, moved(figure, 0, event.deltaY > 0 ? 1.25 : 0.8, figure.across.value(at(event)[0])));
  }, { passive: false });
  place.addEventListener("keydown", (event) => {
    if (!figure.across || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "0") zoomTo(figure, null);
    else if (event.key in KEYS) zoomTo(figure, moved(figure, ...KEYS[event.key]));
    else return;
    event.preventDefault();
  });
}

// The chart as an SVG file.
export function svgOf({ place, model }) {
  const { clientWidth: width, clientHeight: height } = place;
  const surface = svgSurface(width, height, cssColour("card"));
  paintModel(surface, model, width, height, colours());
  return surface.document();
}

// The chart as a PNG file of twice its size.
export function pngOf({ place, model }) {
  const { clientWidth: width, clientHeight: height } = place;
  const canvas = element("canvas", { width: 2 * width, height: 2 * height });
  const context = canvas.getContext("2d");
  context.scale(2, 2);
  const surface = canvasSurface(context);
  surface.rect(0, 0, width, height, { colour: cssColour("card") });
  paintModel(surface, model, width, height, colours());
  return new Promise((done) => { canvas.toBlob(done, "image/png"); });
}

// What is drawn, as comma-separated values.
export function csvOf({ model }) {
  if (MARKS[model.kind]) return csv(MARKS[model.kind].table(model));
  const rows = [["curve", model.xTitle, model.yTitle, "measured", "least", "most"]];
  const [low, high] = rangeOf(model);
  for (const line of model.lines.filter(({ silent }) => !silent)) {
    for (let i = firstFrom(line.x, low); i < line.x.length && line.x[i] <= high; i += 1) {
      rows.push([line.name, line.x[i], line.y[i], line.measured?.[i], line.low?.[i], line.high?.[i]]);
    }
  }
  return csv(rows);
}
