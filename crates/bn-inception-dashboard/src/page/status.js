// The state of the run in focus, its warnings and its settings.
import { duration, element, moment, number, percent, plain } from "./format.js";
import { best, imagesPerSecond, isAlive, isOver, lastValue, silence, start } from "./store.js";
import { addPanel, focused } from "./panels.js";
import { swatch } from "./theme.js";

const ENDS = { interrupted: "stopped", failed: "failed", finished: "finished" };

function stateOf(run, live) {
  const { status, message, time } = run.standing;
  if (status !== "open") return ENDS[status] + (message ? `: ${message}` : "");
  if (run.read[0] < run.read[1] - 1_000_000) return `reading its log: ${percent(run.read[0] / run.read[1], 0)}`;
  if (!live) return `not ended when this was written, ${moment(time)}`;
  return isAlive(run) ? "training" : `nothing new for ${duration(silence(run))}: slow steps, or killed`;
}

function facts(run, live) {
  const { step, epoch, seconds } = run.standing;
  const total = start(run).total_steps;
  const left = live && isAlive(run) && step && total ? ((total - step) * seconds) / step : null;
  return [
    ["step", total ? `${step.toLocaleString("en")} / ${total.toLocaleString("en")}` : number(step)],
    ["epoch", start(run).total_epochs ? `${epoch} / ${start(run).total_epochs}` : epoch],
    left === null ? ["took", duration(seconds)] : ["left", duration(left)],
    ["loss", number(lastValue(run, "train/loss"))],
    ["best top-1", percent(best(run)?.[3])],
    ["images/s", number(imagesPerSecond(run))],
  ];
}

// Draws the state of the run in focus.
export function drawState(place, { focus: run, live }) {
  place.hidden = !run;
  if (!run) return;
  const [name, state, bar, list] = place.children;
  name.replaceChildren(swatch(run), element("span", { textContent: run.title }));
  state.textContent = stateOf(run, live);
  bar.hidden = isOver(run) || !start(run).total_steps;
  bar.value = run.standing.step / (start(run).total_steps || 1);
  list.replaceChildren(...facts(run, live).map(([term, value]) => element("div", {}, [element("dt", { textContent: term }), element("dd", { textContent: value })])));
}

export function addAbout(section) {
  addPanel(section, {
    title: "To look at",
    of: focused,
    has: (view) => view.focus && (view.focus.details.cells.warnings?.length > 0 || view.focus.skipped > 0),
    draw(body, view) {
      const { warnings = [] } = view.focus.details.cells;
      const lines = warnings.toReversed().map(({ time, step, message }) => element("li", {}, [element("span", { className: "faint", textContent: `${moment(time)}, step ${step}: ` }), message]));
      if (view.focus.skipped) lines.push(element("li", { textContent: `${view.focus.skipped} lines of the log could not be read and were passed over.` }));
      body.replaceChildren(element("ul", { className: "log", tabIndex: 0 }, lines));
    },
  });
  addPanel(section, {
    title: "About the run",
    of: focused,
    has: (view) => Boolean(view.focus?.cells.start),
    key: (view) => [view.focus.name, view.focus.cells.start, view.focus.details.cells.labels],
    draw(body, view) {
      const [time, begun] = view.focus.cells.start;
      const { settings = {}, recipe = {}, versions = {}, labels: _, command = [], ...rest } = begun;
      const { labels = [] } = view.focus.details.cells;
      const pairs = [
        ["run", view.focus.name],
        ["started", moment(time)],
        ["command", command.join(" ")],
        ...Object.entries(settings).map(([name, value]) => [`--${name}`, plain(value)]),
        ...Object.entries(recipe).map(([name, value]) => [`recipe: ${name}`, plain(value)]),
        ...Object.entries(rest).filter(([, value]) => value !== null && value !== "").map(([name, value]) => [name.replaceAll("_", " "), plain(value)]),
        ["versions", Object.entries(versions).map((pair) => pair.join(" ")).join(", ")],
        ["classes", labels.length > 12 ? `${labels.length}: ${labels.slice(0, 12).join(", ")} …` : labels.join(", ")],
      ];
      const rows = pairs.filter(([, value]) => value).flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]);
      body.replaceChildren(element("dl", { className: "about" }, rows));
    },
  });
}
