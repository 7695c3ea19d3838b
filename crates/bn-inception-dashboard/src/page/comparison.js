// The panels that compare runs.
import { duration, element, number, percent, plain } from "./format.js";
import { choices, paletteColour, runColour, swatch, themeName } from "./theme.js";
import { best, isOver, reached } from "./store.js";
import { RESULTS, differingSettings, settingsOf, valueOf } from "./names.js";
import { addPanel } from "./panels.js";
import { chart } from "./figure.js";

const TEXTS_OF = { percent, number, duration, count: (value) => value?.toLocaleString("en") ?? "–" };
const MOST_AXES = 7;
const FEWEST_POINTS = 2;

export function addComparison(section, redraw) {
  addPanel(section, {
    title: "Runs",
    note: "Results, and the settings in which the runs differ; what they have in common is left out. A heading sorts, here and in the list.",
    wide: true,
    bodyClass: "tall",
    has: (view) => view.runs.length > 1,
    key: (view) => [themeName(), choices.sort, choices.descending, view.runs.map((run) => [run.key, run.shade, run.title, columnsOfTable(view.runs).map((name) => said(run, name))])],
    draw: (body, view) => drawTable(body, view, redraw),
  });
  addTarget(section, redraw);
  addScatter(section, redraw);
  addPanel(section, {
    title: "Parallel coordinates",
    note: "A line is a run, from its settings to its result.",
    wide: true,
    has: (view) => view.runs.length > 1 && axesOf(view.runs).length > 1,
    draw: drawParallel,
  });
}

export function said(run, name) {
  const value = valueOf(run, name);
  return name in RESULTS ? TEXTS_OF[RESULTS[name].kind](value) : plain(value);
}

function columnsOfTable(runs) {
  return [...Object.keys(RESULTS).filter((name) => runs.some((run) => defined(valueOf(run, name)))), ...differingSettings(runs)];
}

function defined(value) {
  return value !== undefined && value !== null && !Number.isNaN(value);
}

// Sorts by a setting or result; runs without it come last.
export function sorted(runs, name, descending) {
  if (name === "order") return descending ? [...runs].reverse() : [...runs];
  const value = (run) => (name === "name" ? run.title : valueOf(run, name));
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : plain(a).localeCompare(plain(b), "en", { numeric: true }));
  return [...runs].sort((a, b) => defined(value(b)) - defined(value(a)) || compare(value(a), value(b)) * (descending ? -1 : 1));
}

function drawTable(body, view, redraw) {
  const names = ["name", ...columnsOfTable(view.runs)];
  const focused = body.contains(document.activeElement) ? document.activeElement.dataset.name : null;
  const heads = names.map((name) => {
    const own = choices.sort === name;
    const button = element("button", { type: "button", textContent: `${name === "name" ? "run" : name}${own ? (choices.descending ? " ▾" : " ▴") : ""}` });
    button.dataset.name = name;
    button.addEventListener("click", () => {
      // Results are usually looked for from the best.
      choices.descending = own ? !choices.descending : name in RESULTS;
      choices.sort = name;
      redraw();
    });
    return element("th", { scope: "col", className: numeric(view.runs, name) ? "number" : "", "aria-sort": own ? (choices.descending ? "descending" : "ascending") : "none" }, [button]);
  });
  const rows = sorted(view.runs, choices.sort, choices.descending).map((run) => element("tr", {}, names.map((name) => {
    if (name === "name") return element("th", { scope: "row" }, [swatch(run), run.title]);
    const cell = element("td", { className: numeric(view.runs, name) ? "number" : "", textContent: said(run, name) });
    const value = valueOf(run, name);
    if (typeof value === "number") cell.dataset.text = String(value);
    return cell;
  })));
  const table = element("table", {}, [element("thead", {}, [element("tr", {}, heads)]), element("tbody", {}, rows)]);
  const kept = body.firstChild?.scrollTop ?? 0;
  body.replaceChildren(element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Table of runs" }, [table]));
  body.firstChild.scrollTop = kept;
  if (focused !== null) [...body.querySelectorAll("th button")].find(({ dataset }) => dataset.name === focused)?.focus();
}

function numeric(runs, name) {
  return name !== "name" && runs.every((run) => !defined(valueOf(run, name)) || typeof valueOf(run, name) === "number");
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
    bodyClass: "tall",
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
  const hits = view.runs.map((run) => ({ run, hit: reached(run, target) }));
  const slowest = Math.max(...hits.map(({ hit }) => hit?.[0] ?? 0));
  const bars = choices.mean ? barsOfGroups(view.groups, target, slowest) : hits.map((hit) => barOf(hit, slowest));
  bars.sort((a, b) => (a.value ?? Infinity) - (b.value ?? Infinity));
  chart(body, { kind: "bars", bars, title: `optimizer steps to ${percent(target)}`, label: `Steps to a top-1 accuracy of ${percent(target)} of ${bars.length} ${choices.mean ? "groups" : "runs"}` });
}

function barOf({ run, hit }, slowest) {
  const bar = { name: run.title, key: run.key, colour: runColour(run) };
  if (!hit) {
    const text = best(run) ? `${isOver(run) ? "never" : "not yet"}; best ${percent(best(run)[3])}` : "no validation yet";
    return { ...bar, value: null, text };
  }
  const [step, images, seconds] = hit;
  const sooner = `${(slowest / step).toFixed(1)}×`;
  const rows = [`${step.toLocaleString("en")} steps, ${sooner} as fast as the slowest`, `${images.toLocaleString("en")} images`, duration(seconds)];
  return { ...bar, value: step, text: `${step.toLocaleString("en")}  (${sooner})`, rows: rows.map((text) => ({ text })) };
}

function barsOfGroups(groups, target, slowest) {
  return groups.map((group) => {
    const steps = group.runs.map((run) => reached(run, target)?.[0]).filter((step) => step !== undefined);
    const bar = { name: group.title || "all", colour: paletteColour(group.shade) };
    const share = `${steps.length} of ${group.runs.length} runs`;
    if (!steps.length) return { ...bar, value: null, text: `none of ${group.runs.length} runs` };
    const value = steps.reduce((sum, step) => sum + step, 0) / steps.length;
    const [low, high] = [Math.min(...steps), Math.max(...steps)];
    return { ...bar, value, low, high, text: `${number(value)}  (${(slowest / value).toFixed(1)}×; ${share})`, rows: [{ text: `mean ${number(value)}, ${number(low)} to ${number(high)}` }, { text: share }] };
  });
}

// The settings that differ, as axes, and the best result.
function axesOf(runs) {
  const settings = differingSettings(runs).filter((name) => runs.some((run) => defined(settingsOf(run)[name])));
  const result = runs.some((run) => best(run)) ? "best top-1" : "last loss";
  return [...settings.slice(0, MOST_AXES - 1), ...(runs.some((run) => defined(valueOf(run, result))) ? [result] : [])];
}

function drawParallel(body, view) {
  const names = axesOf(view.runs);
  const axes = names.map((name) => ({ title: name, say: RESULTS[name]?.kind === "percent" ? (value) => percent(value) : undefined }));
  const lines = view.runs.map((run) => ({ values: names.map((name) => (defined(valueOf(run, name)) ? valueOf(run, name) : undefined)), colour: runColour(run), name: run.title, key: run.key }));
  chart(body, { kind: "parallel", axes, lines, label: `Parallel coordinates of ${lines.length} runs: ${names.join(", ")}` });
}

// Any setting or result against any other.
function addScatter(section, redraw) {
  const [x, y] = ["Horizontal", "Vertical"].map((text) => element("select", { "aria-label": text }));
  const tools = element("div", { className: "tools" }, [y, "over", x]);
  tools.addEventListener("change", redraw);
  const offer = (select, names, usual) => {
    if (select.dataset.names === names.join()) return;
    const chosen = names.includes(select.value) ? select.value : usual;
    select.replaceChildren(...names.map((name) => element("option", { value: name, textContent: name, selected: name === chosen })));
    select.dataset.names = names.join();
  };
  const axes = (runs) => [...differingSettings(runs), ...Object.keys(RESULTS)].filter((name) => runs.filter((run) => defined(valueOf(run, name))).length >= FEWEST_POINTS);
  addPanel(section, {
    title: "Settings and results",
    tools,
    has: (view) => view.runs.length > 1 && axes(view.runs).length > 1,
    draw(body, { runs }) {
      const names = axes(runs);
      offer(x, names, names.find((name) => runs.every((run) => typeof valueOf(run, name) === "number") && name !== "seed") ?? names[0]);
      offer(y, names, names.includes("best top-1") ? "best top-1" : names.at(-1));
      const known = runs.filter((run) => defined(valueOf(run, x.value)) && defined(valueOf(run, y.value)));
      const scaled = (name) => (RESULTS[name]?.kind === "percent" ? 100 : 1);
      const value = (run, name) => (typeof valueOf(run, name) === "number" ? scaled(name) * valueOf(run, name) : plain(valueOf(run, name)));
      const points = known.map((run) => ({ x: value(run, x.value), y: value(run, y.value), run, colour: runColour(run), name: run.title, key: run.key }));
      const titled = (name) => (RESULTS[name]?.kind === "percent" ? `${name} (%)` : RESULTS[name]?.kind === "duration" ? `${name} (s)` : name);
      chart(body, { kind: "scatter", points, xTitle: titled(x.value), yTitle: titled(y.value), say: ({ run }) => `${said(run, x.value)}, ${said(run, y.value)}`, label: `${y.value} over ${x.value} of ${points.length} runs` });
    },
  });
}
