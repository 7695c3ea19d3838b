// Where the data of charts comes from: the server, when a panel in sight needs it, or the report itself.
import { applyCloser, applyCurves, applyDetails, forgetCurves, isOver, runCalled } from "./store.js";
import { stepsWithin } from "./rows.js";
import { ask } from "./stream.js";

const POINTS = { all: 24_000, least: 150, most: 1200 }; // of a curve: of all runs together, and the bounds of one run's share
const PAUSE = 1000; // milliseconds from one answer with news to the next question
const CLOSER_BELOW = 150; // points of a curve in the range shown, below which the log is read again

let online = false;
let points = POINTS.most;
let arrived = () => {};
let wanted = []; // questions in the order of the panels: `{ names, keys }`
let asking = false;
let asked = -Infinity;
let detailed = null;
let look = null; // the range of the closer looks, and the curves
let looking = false;

// Asks the server from now on; `changed` is called after each answer, with true if panels had waited for it.
export function goOnline(changed) {
  [online, arrived] = [true, changed];
}

// Sets the resolution by the number of runs listed. It changes in steps, as all curves are asked for again.
export function setRuns(count) {
  const share = Math.min(POINTS.most, Math.max(POINTS.least, POINTS.all / Math.max(1, count)));
  const now = POINTS.most / 2 ** Math.ceil(Math.log2(POINTS.most / share));
  if (now === points) return;
  points = now;
  if (online) forgetCurves();
}

// Asks for curves called `names` of `runs`, if there is anything new of them.
export function want(runs, names) {
  if (!online) return;
  const isMissing = (run, name) => run.names.includes(name) && (run.have[name] ?? 0) < run.read[0];
  const keys = runs.filter((run) => names.some((name) => isMissing(run, name))).map(({ key }) => key);
  if (!keys.length) return;
  const same = wanted.find((question) => question.names.join() === names.join());
  if (same) same.keys = [...new Set([...same.keys, ...keys])];
  else wanted.push({ names, keys });
  if (!asking) soon();
}

// True if the page has nothing yet of what a question is for.
function isFresh({ names, keys }) {
  return keys.some((key) => names.some((name) => runCalled(key)?.names.includes(name) && !(name in runCalled(key).have)));
}

function soon() {
  asking = true;
  // Later, when all panels have said what they want. Only news wait.
  setTimeout(askForCurves, wanted.some(isFresh) ? 0 : Math.max(0, asked + PAUSE - performance.now()));
}

// Asks one question: that of the first panel without any data, so that it is drawn first, or for all news.
async function askForCurves() {
  const first = wanted.find(isFresh);
  const questions = first ? [first] : wanted;
  wanted = wanted.filter((question) => !questions.includes(question));
  const names = [...new Set(questions.flatMap((question) => question.names))];
  const keys = [...new Set(questions.flatMap((question) => question.keys))].filter(runCalled);
  const since = (run) => Math.min(run.read[0], ...names.filter((name) => run.names.includes(name)).map((name) => run.have[name] ?? 0));
  const resolution = points;
  try {
    const answer = await ask("curves", { names, points, runs: Object.fromEntries(keys.map((key) => [key, since(runCalled(key))])) });
    for (const [key, changes] of Object.entries(answer)) {
      if (runCalled(key) && resolution === points) applyCurves(runCalled(key), names, changes);
    }
  } catch {
    // The stream says what is wrong, and panels ask again when they are drawn again.
    wanted = [];
  }
  asked = performance.now();
  asking = false;
  if (wanted.length) soon();
  arrived(Boolean(first));
}

// Asks for what the panels of one run show, if there is anything new of it.
export async function wantDetails(run) {
  if (!online || detailed || run.details.offset >= run.read[0]) return;
  detailed = run.key;
  try {
    const answer = await ask("details", { run: run.key, since: run.details.offset });
    if (answer) applyDetails(run, answer);
    arrived(false);
  } catch { /* asked for again with the next news */ }
  setTimeout(() => { detailed = null; }, isOver(run) ? 0 : PAUSE);
}

// Reads the logs of `runs` again in the range shown, one after the other, where the curves are coarse, and once more when
// a curve has got longer within it. `null` is no range.
export async function lookCloser(runs, names, range) {
  if (!online) return;
  const id = JSON.stringify([names, range]);
  if (look !== id) for (const run of runs) run.closer = undefined;
  look = id;
  if (looking || !range) return;
  looking = true;
  let told = performance.now();
  let again = Infinity;
  for (const run of runs) {
    const part = missingPart(run, names, range);
    if (!part) continue;
    const begun = performance.now();
    if (!isOver(run) && begun < (run.closer?.next ?? 0)) {
      again = Math.min(again, run.closer.next - begun);
      continue;
    }
    const answer = await ask("excerpt", { run: run.key, names, ...part }).catch(() => undefined);
    // The stream says what is wrong.
    if (look !== id || answer === undefined) break;
    applyCloser(run, { curves: {}, ...answer });
    // A run that goes on is not read all the time.
    Object.assign(run.closer, part, { next: performance.now() + 10 * (performance.now() - begun) });
    again = 0;
    if (performance.now() > told + PAUSE / 2) {
      told = performance.now();
      arrived(true);
    }
  }
  looking = false;
  // With another range by now, the panels ask again.
  if (look !== id) again = 0;
  if (again < Infinity) setTimeout(() => arrived(true), again);
}

// The steps in the range shown for which a run's curves are coarse; nothing if they were read already.
function missingPart(run, names, range) {
  const clock = names.find((name) => run.curves[name]?.min);
  if (!clock) return null;
  const { from, to, points: coarse } = stepsWithin(run, clock, range);
  const isRead = run.closer && run.closer.from <= from && run.closer.to >= to;
  return coarse === 0 || coarse >= CLOSER_BELOW || isRead ? null : { from, to };
}
