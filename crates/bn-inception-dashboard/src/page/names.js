// What runs are called, and how they are grouped: by what differs between them.
import { plain } from "./format.js";
import { choices } from "./theme.js";
import { best, imagesPerSecond, lastValue, start } from "./store.js";

// Settings that say where a run lies or how it was watched, not what it is.
const ASIDE = ["out", "resume", "data", "dashboard", "dashboard-token", "quiet", "stderr", "json"];
const FIRST = ["recipe", "preset", "width", "image-size", "batch-size", "epochs"];
const IN_NAME = 4; // settings at most
const GROUPED_FROM = 8; // runs from which on they are grouped without being asked
const MOST_GROUPS = 7; // as many as there are colours

// Results of a run: heading, value, name of the number's kind.
export const RESULTS = {
  "best top-1": { read: (run) => best(run)?.[3], kind: "percent" },
  "best at step": { read: (run) => best(run)?.[0], kind: "count" },
  "last top-5": { read: (run) => lastValue(run, "val/top5"), kind: "percent" },
  "last val. loss": { read: (run) => lastValue(run, "val/loss"), kind: "number" },
  "last loss": { read: (run) => lastValue(run, "train/loss"), kind: "number" },
  "images/s": { read: (run) => imagesPerSecond(run), kind: "number" },
  step: { read: (run) => run.standing.step, kind: "count" },
  time: { read: (run) => run.standing.seconds, kind: "duration" },
};

// Settings of a run by name, numbers of the recipe included.
export function settingsOf(run) {
  const { settings = {}, recipe = {}, device, revision, dataset, total_steps: steps, parameters } = start(run);
  if (run.settings?.of === run.cells.start) return run.settings.flat;
  const flat = {};
  const walk = (prefix, value) => {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      Object.entries(value).forEach(([name, inner]) => walk(`${prefix} ${name}`, inner));
    } else if (value !== undefined) flat[prefix] = value !== null && typeof value === "object" ? plain(value) : value;
  };
  Object.entries(settings).filter(([name]) => !ASIDE.includes(name)).forEach(([name, value]) => walk(name, value));
  Object.entries(recipe).forEach(([name, value]) => walk(`recipe: ${name}`, value));
  Object.entries({ device, revision, dataset, "total steps": steps, parameters }).forEach(([name, value]) => walk(name, value));
  run.settings = { of: run.cells.start, flat };
  return flat;
}

const known = new Map(); // answers for the runs listed and for those shown
const MOST_KNOWN = 8;

// Names of the settings in which `runs` differ, those of the command line first, the seed last of these.
export function differingSettings(runs) {
  const of = runs.map((run) => `${run.key} ${run.cells.start?.[0]}`).join();
  if (!known.has(of)) {
    if (known.size === MOST_KNOWN) known.clear();
    known.set(of, runs.length ? findDiffering(runs) : []);
  }
  return known.get(of);
}

function findDiffering(runs) {
  const all = runs.map(settingsOf);
  const names = [...new Set(all.flatMap(Object.keys))];
  const differing = names.filter((name) => new Set(all.map((flat) => plain(flat[name]))).size > 1);
  const given = start(runs[0]).settings ?? {};
  const kind = (name) => (name in given ? 0 : name.startsWith("recipe: ") ? 100 : 200);
  const rank = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : name === "seed" ? 99 : FIRST.length + kind(name));
  return differing.sort((a, b) => rank(a) - rank(b));
}

function shortName(run) {
  return run.name.split("/").at(-1) || run.name;
}

// Gives each of `runs` its title, such as "3 · bn-x30 · width 0.5".
export function nameRuns(runs) {
  const shorts = runs.map(shortName);
  const differing = differingSettings(runs);
  // What the recipe implies is not said again.
  const said = differing.filter((name) => !/^(recipe: |parameters|total steps|dataset|device|revision)/.test(name)).slice(0, IN_NAME);
  const extra = said.length ? said : differing.filter((name) => !/^(dataset|revision)/.test(name)).slice(0, IN_NAME);
  runs.forEach((run, index) => {
    const unique = shorts.indexOf(shorts[index]) === shorts.lastIndexOf(shorts[index]);
    const name = runs.length > 1 && unique ? shorts[index] : run.name;
    run.title = [name, ...extra.map((setting) => worded(run, setting))].filter(Boolean).join(" · ");
    // Under the heading of its group, without what that says.
    run.within = (group) => [name, ...extra.filter((setting) => setting !== group).map((setting) => worded(run, setting))].filter(Boolean).join(" · ");
  });
}

// A setting of a run as part of its title.
function worded(run, setting) {
  const value = settingsOf(run)[setting];
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : `${setting.replace("recipe: ", "")} ${plain(value)}`;
}

// The setting by which runs are grouped; "" for none.
export function grouping(runs) {
  const differing = differingSettings(runs);
  if (choices.group !== "auto") return differing.includes(choices.group) ? choices.group : "";
  if (runs.length < GROUPED_FROM) return "";
  const sizes = (name) => new Set(runs.map((run) => plain(settingsOf(run)[name]))).size;
  return differing.find((name) => name !== "seed" && sizes(name) <= MOST_GROUPS) ?? "";
}

// The groups of `runs`, in the order of their values: `[{ name, runs, shade }]`. Without a grouping there is one,
// without a name. Each run gets the shade of its group.
export function groupRuns(runs) {
  const setting = grouping(runs);
  const groups = new Map();
  for (const run of runs) {
    const name = setting ? plain(settingsOf(run)[setting]) : "";
    if (!groups.has(name)) groups.set(name, { name, runs: [] });
    groups.get(name).runs.push(run);
  }
  const sorted = [...groups.values()].sort((a, b) => byValue(a.name, b.name));
  sorted.forEach((group, index) => {
    group.shade = index;
    group.title = setting && !Number.isNaN(Number(group.name)) ? `${setting} ${group.name}` : group.name;
    for (const run of group.runs) run.shade = setting ? index : undefined;
  });
  return { setting, groups: sorted };
}

// Order of two values as they are written: of numbers by size, of others by letters.
function byValue(a, b) {
  const difference = Number(a) - Number(b);
  return a !== "" && b !== "" && Number.isFinite(difference) ? difference : a.localeCompare(b, "en", { numeric: true });
}

// The value of a run under a heading of a result or setting.
export function valueOf(run, name) {
  return name in RESULTS ? RESULTS[name].read(run) : settingsOf(run)[name];
}
