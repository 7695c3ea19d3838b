// The runs as far as the page has received them.

const PAGE = 256; // runs, as on the server

const runs = new Map();
let listed = null; // what the server said last of all runs
let older = 0; // pages before the newest

function inOrder() {
  return [...runs.values()].sort((a, b) => a.index - b.index);
}

// The runs of this page, in order, the number of those before it, and of all. A report holds all of them; a server
// sends those of the page only.
export function listedRuns() {
  const all = inOrder();
  if (listed) return { all, from: listed.from, total: listed.total };
  const end = Math.max(all.length - older * PAGE, Math.min(PAGE, all.length));
  const from = Math.max(0, end - PAGE);
  return { all: all.slice(from, end), from, total: all.length };
}

// Turns over to older runs (1) or back to newer ones (-1). Returns the number of pages before the newest.
export function turnPage(direction) {
  older = Math.max(0, older + direction);
  return older;
}

export function runCalled(key) {
  return runs.get(key);
}

// Applies a summary: what changed of a run since the last one.
export function apply(message) {
  for (const other of runs.values()) {
    if (other.index === message.index && other.key !== message.key) runs.delete(other.key);
  }
  let run = runs.get(message.key);
  if (!run) {
    // `curves` are columns by name, `have` says up to which byte of the log they are.
    run = { key: message.key, names: [], cells: {}, last: {}, curves: {}, have: {}, details: { offset: 0, cells: {}, tracks: {} } };
    runs.set(message.key, run);
  }
  const { index, name, read, skipped, standing, last, curves, cells } = message;
  Object.assign(run, { index, name, read, skipped, standing, last });
  if (curves) run.names = curves;
  Object.assign(run.cells, cells);
}

// Applies the answer to a question for curves called `names`: `{ offset, voided, curves }`.
export function applyCurves(run, names, { offset, voided, curves }) {
  // What came before was done again, or is of another log.
  for (const [name, have] of Object.entries(run.have)) {
    if (have >= voided && have <= offset) continue;
    delete run.have[name];
    delete run.curves[name];
  }
  for (const [name, [first, columns]] of Object.entries(curves)) run.curves[name] = joinedColumns(run.curves[name], first, columns);
  for (const name of names) run.have[name] = offset;
}

// Columns up to `first`, and the new ones after them, as they came: differences, and tenths of a second.
function joinedColumns(kept, first, came) {
  const columns = { step: [], images: [], time: [], mean: [] };
  for (const column of ["step", "images", "time"]) {
    const before = kept?.[column].slice(0, first) ?? [];
    const unit = column === "time" ? 0.1 : 1;
    let last = Math.round((before.at(-1) ?? 0) / unit);
    // Differences count from 0 at the first of those that came.
    came[column].forEach((difference, index) => {
      last = index ? last + difference : difference;
      before.push(last * unit);
    });
    columns[column] = before;
  }
  columns.mean = [...(kept?.mean.slice(0, first) ?? []), ...came.mean];
  if (came.min || kept?.min) {
    for (const edge of ["min", "max"]) columns[edge] = [...((kept?.[edge] ?? kept?.mean)?.slice(0, first) ?? []), ...(came[edge] ?? came.mean)];
  }
  return columns;
}

// Applies a closer look at a range of steps.
export function applyCloser(run, { curves }) {
  run.closer = { curves: Object.fromEntries(Object.entries(curves).map(([name, [, columns]]) => [name, joinedColumns(null, 0, columns)])) };
}

// Applies the answer to a question for details.
export function applyDetails(run, { offset, reset, cells, tracks }) {
  const kept = reset ? { cells: {}, tracks: {} } : run.details;
  for (const [name, [first, snapshots]] of Object.entries(tracks)) kept.tracks[name] = [...(kept.tracks[name] ?? []).slice(0, first), ...snapshots];
  run.details = { offset, cells: { ...kept.cells, ...cells }, tracks: kept.tracks };
}

// Forgets all curves: they are asked for in another resolution.
export function forgetCurves() {
  for (const run of runs.values()) [run.curves, run.have] = [{}, {}];
}

// Applies the list of the runs of this page: others are gone, unless the server has not opened every log yet.
export function arrange(list) {
  listed = list;
  if (!list.complete) return;
  for (const key of runs.keys()) {
    if (!list.runs.includes(key)) runs.delete(key);
  }
}

export function start(run) {
  return run.cells.start?.[1] ?? {};
}

// The name of a class, with its index if another class has the same name.
export function label(run, index) {
  const { labels = [] } = run.details.cells;
  const name = labels[index];
  if (name === undefined) return `class ${index}`;
  return labels.indexOf(name) === labels.lastIndexOf(name) ? name : `${name} (class ${index})`;
}

export function lastValue(run, name) {
  return run.last[name] ?? run.curves[name]?.mean.at(-1);
}

export function isOver(run) {
  return run.standing.status !== "open";
}

const SILENT = 90; // seconds without a line after which a run may have been killed

let ahead = 0; // seconds, of the server's clock

// Sets the clock by the server's `time`: it is closer to the one that dated the logs.
export function setClock(time) {
  ahead = time - Date.now() / 1000;
}

// Seconds since the run's last line.
export function silence(run) {
  return Date.now() / 1000 + ahead - run.standing.time;
}

// True if the run has not ended and has been heard of lately.
export function isAlive(run) {
  return !isOver(run) && silence(run) <= SILENT;
}

// Mean of training images per second of training steps, waiting for data included, as in `summary.json`.
export function imagesPerSecond(run) {
  const { images, train_seconds: seconds } = run.standing;
  return seconds > 0 ? images / seconds : NaN;
}

// Names of the curves that begin with `prefix/`.
export function below(run, prefix) {
  return run.names.filter((name) => name.startsWith(`${prefix}/`));
}

// The first validation at or above `target`, as `[step, images, seconds, accuracy]`; nothing is interpolated.
export function reached(run, target) {
  return run.cells.records?.find((record) => record[3] >= target);
}

export function best(run) {
  return run.cells.records?.at(-1);
}
