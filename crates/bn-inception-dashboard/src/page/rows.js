// The points of a run's curves, along the axis that the user has chosen.
import { choices } from "./theme.js";
import { firstFrom } from "./axes.js";

const HOURS_FROM = 2 * 3600; // seconds of the longest run from which on the axis counts hours
const NONE = { step: [], images: [], time: [], mean: [] };

let timeUnit = { seconds: 3600, title: "hours" };

// Sets the unit of the time axis by the longest run, in seconds. A range shown stays what it is.
export function setTimeUnit(longest) {
  const before = timeUnit.seconds;
  timeUnit = longest >= HOURS_FROM ? { seconds: 3600, title: "hours" } : { seconds: 60, title: "minutes" };
  if (choices.axis === "hours" && choices.zoom) choices.zoom = choices.zoom.map((value) => (value * before) / timeUnit.seconds);
}

// A range of the axis in a unit that does not depend on the runs shown: times in hours.
export function lasting(zoom) {
  return choices.axis === "hours" ? zoom.map((value) => (value * timeUnit.seconds) / 3600) : zoom;
}

export function axisTitle() {
  return { step: "optimizer steps", images: "training images" }[choices.axis] ?? timeUnit.title;
}

// Horizontal positions of columns.
export function across(columns) {
  if (choices.axis === "hours") return columns.time.map((seconds) => seconds / timeUnit.seconds);
  return columns[choices.axis];
}

// The columns of a run's curve: as the server summed them up, and within the range last looked at more closely, as
// they are in the log.
export function columnsOf(run, name) {
  const coarse = run.curves[name] ?? NONE;
  const close = run.closer?.curves[name];
  if (!close?.step.length || !coarse.step.length) return coarse;
  const [from, to] = [firstFrom(coarse.step, close.step[0]), firstFrom(coarse.step, close.step.at(-1) + 1)];
  const merged = {};
  for (const column of Object.keys(coarse)) {
    const inner = close[column] ?? close.mean;
    merged[column] = [...coarse[column].slice(0, from), ...inner, ...coarse[column].slice(to)];
  }
  return merged;
}

// Steps of a run at the ends of a range of the chosen axis, one point further out on either side.
export function stepsWithin(run, name, [low, high]) {
  const columns = run.curves[name] ?? NONE;
  const places = across(columns);
  const [from, to] = [firstFrom(places, low), firstFrom(places, high)];
  return { from: columns.step[from - 1] ?? 0, to: columns.step[to] ?? columns.step.at(-1) ?? 0, points: to - from };
}

// The longest horizontal range of runs, in the unit of the axis.
export function spanOfRuns(runs) {
  const ends = runs.map(({ standing: { step, images, seconds } }) => ({ step, images, hours: seconds / timeUnit.seconds })[choices.axis]);
  return [0, Math.max(1e-3, ...ends)];
}
