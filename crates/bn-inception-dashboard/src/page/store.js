// The runs as far as the page has received them.

const runs = new Map();

export function inOrder() {
  return [...runs.values()].sort((a, b) => a.index - b.index);
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

// Applies the keys of all runs in their order. A key is empty while the server has not begun to read that run.
export function arrange(keys) {
  for (const run of runs.values()) {
    const index = keys.indexOf(run.key);
    if (index >= 0) run.index = index;
    else if (!keys.includes("")) runs.delete(run.key);
  }
}

export function start(run) {
  return run.cells.start?.[1] ?? {};
}

export function label(run, index) {
  return start(run).labels?.[index] ?? `class ${index}`;
}

export function lastValue(run, name) {
  return run.series[name]?.at(-1)?.[3];
}

export function isOver(run) {
  return run.standing.status !== "open";
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
