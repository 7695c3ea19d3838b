// The cards of the runs, their warnings and their settings.
import { duration, element, moment, number, percent, plain } from "./format.js";
import { best, imagesPerSecond, isAlive, isOver, lastValue, silence, start } from "./store.js";
import { addPanel, focused } from "./charts.js";
import { swatch } from "./theme.js";

const ENDS = { interrupted: "stopped", failed: "failed", finished: "finished" };

function state(run, live) {
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

// Draws the cards. `on` has functions toggle(key) and focus(key).
export function drawCards(place, view, on) {
  const cards = view.all.map((run) => place.querySelector(`[data-key="${run.key}"]`) ?? newCard(run, on));
  if (cards.length !== place.children.length || cards.some((card, index) => place.children[index] !== card)) place.replaceChildren(...cards);
  view.all.forEach((run, index) => fillCard(cards[index], run, view));
}

function newCard(run, on) {
  const box = element("input", { type: "checkbox", checked: true });
  box.addEventListener("change", () => on.toggle(run.key));
  const look = element("button", { type: "button", className: "look" });
  look.addEventListener("click", () => on.focus(run.key));
  const card = element("article", { className: "run" }, [
    element("label", { className: "name" }, [box, element("span", { className: "place" }), element("span", { className: "title" })]),
    element("p", { className: "state" }),
    element("progress", { max: 1, "aria-label": "Steps taken" }),
    element("dl", { className: "facts" }),
    look,
  ]);
  card.dataset.key = run.key;
  return card;
}

function fillCard(card, run, view) {
  const several = view.all.length > 1;
  const focused = view.focus?.key === run.key;
  const box = card.querySelector("input");
  box.hidden = !several;
  box.checked = view.runs.includes(run);
  card.classList.toggle("focus", several && focused);
  card.querySelector(".place").replaceChildren(swatch(run));
  card.querySelector(".title").textContent = run.name;
  card.querySelector(".state").textContent = state(run, view.live);
  const bar = card.querySelector("progress");
  bar.hidden = isOver(run) || !start(run).total_steps;
  bar.value = run.standing.step / (start(run).total_steps || 1);
  card.querySelector(".facts").replaceChildren(...facts(run, view.live).map(([name, value]) => element("div", {}, [element("dt", { textContent: name }), element("dd", { textContent: value })])));
  const look = card.querySelector(".look");
  look.hidden = !several;
  look.disabled = focused;
  look.textContent = focused ? "its details are shown" : "show its details";
}

export function addAbout(section) {
  addPanel(section, {
    title: "To look at",
    of: focused,
    has: (view) => view.focus && (view.focus.cells.warnings?.length > 0 || view.focus.skipped > 0),
    draw(body, view) {
      const { warnings = [] } = view.focus.cells;
      const lines = warnings.toReversed().map(({ time, step, message }) => element("li", {}, [element("span", { className: "faint", textContent: `${moment(time)}, step ${step}: ` }), message]));
      if (view.focus.skipped) lines.push(element("li", { textContent: `${view.focus.skipped} lines of the log could not be read and were passed over.` }));
      body.replaceChildren(element("ul", { className: "log", tabIndex: 0 }, lines));
    },
  });
  addPanel(section, {
    title: "About the run",
    of: focused,
    has: (view) => Boolean(view.focus?.cells.start),
    key: (view) => [view.focus.name, view.focus.cells.start],
    draw(body, view) {
      const [time, begun] = view.focus.cells.start;
      const { settings = {}, recipe = {}, versions = {}, labels = [], command = [], ...rest } = begun;
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
