// The runs as far as the page has received them.

const PAGE = 64; // runs, as on the server

const runs = new Map();
let listed = null; // what the server said last of all runs
let older = 0; // pages before the newest

function inOrder() {
  return [...runs.values()].sort((a, b) => a.index - b.index);
}

// The runs of this page, in order, the number of those before it, and of all. A report holds all of them; a server
// sends those of the page only.
export function shownRuns() {
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

// Applies a message of the server: the changes of a run since the last one.
export function apply(message) {
  for (const other of runs.values()) {
    if (other.index === message.index && other.key !== message.key) runs.delete(other.key);
  }
  let run = runs.get(message.key);
  if (!run && !message.reset) throw new Error("the page lacks what came before");
  if (!run || message.reset) {
    run = { key: message.key, series: {}, tracks: {}, cells: {} };
    runs.set(message.key, run);
  }
  const { index, name, read, skipped, standing } = message;
  Object.assign(run, { index, name, read, skipped, standing });
  for (const kind of ["series", "tracks"]) {
    for (const [name, [first, rows]] of Object.entries(message[kind] ?? {})) {
      const kept = run[kind][name] ?? [];
      kept.length = first;
      run[kind][name] = kept.concat(rows);
    }
  }
  Object.assign(run.cells, message.cells);
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
  const { labels = [] } = start(run);
  const name = labels[index];
  if (name === undefined) return `class ${index}`;
  return labels.indexOf(name) === labels.lastIndexOf(name) ? name : `${name} (class ${index})`;
}

export function lastValue(run, name) {
  return run.series[name]?.at(-1)?.[3];
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

// Names of the series that begin with `prefix/`.
export function below(run, prefix) {
  return Object.keys(run.series).filter((name) => name.startsWith(`${prefix}/`));
}

// The first validation at or above `target`, as `[step, images, seconds, accuracy]`; nothing is interpolated.
export function reached(run, target) {
  return run.cells.records?.find((record) => record[3] >= target);
}

export function best(run) {
  return run.cells.records?.at(-1);
}
