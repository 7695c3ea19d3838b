// The page: its sections, controls and connection.
import { element, visible } from "./format.js";
import { applyTheme, choices, onSystemTheme, recall, remember } from "./theme.js";
import { apply, arrange, isAlive, isOver, setClock, shownRuns, turnPage } from "./store.js";
import { follow, requestStop, setToken, showOlder } from "./stream.js";
import { refresh } from "./charts.js";
import { addMachine, addTraining } from "./curves.js";
import { addNetwork } from "./network.js";
import { addValidation } from "./validation.js";
import { addComparison } from "./comparison.js";
import { addAbout, drawCards } from "./status.js";

const SECTIONS = [
  ["training", "Training", addTraining],
  ["comparison", "Comparison", addComparison],
  ["predictions", "Predictions", addValidation],
  ["network", "Network", addNetwork],
  ["machine", "Machine", addMachine],
  ["about", "About", addAbout],
];

const STOP = "Stop the run";

const at = (id) => document.getElementById(id);
const report = at("report");
let live = !report;
let pending = null;
let timer = null;
let connected = false;
let session = null; // the server's, another one after it was restarted
let drawn = { at: -Infinity, took: 0 }; // milliseconds

// The state of the page: all runs, those shown, and the one whose details are shown.
function currentView() {
  const { all, from, total } = shownRuns();
  const runs = all.filter((run) => !choices.hidden.includes(run.key));
  const usual = runs.find((run) => !isOver(run)) ?? runs.at(-1);
  const focus = runs.find((run) => run.key === choices.focus) ?? usual;
  return { all, from, total, runs, focus, focused: { runs: focus ? [focus] : [] }, live };
}

function draw() {
  pending = null;
  const begun = performance.now();
  drawAll(currentView());
  drawn = { at: begun, took: performance.now() - begun };
}

function drawAll(view) {
  drawPages(view);
  sayLive();
  drawCards(at("runs"), view, {
    toggle(key) {
      const shown = choices.hidden.filter((hidden) => hidden !== key);
      choices.hidden = shown.length < choices.hidden.length ? shown : [...shown, key];
      drawSoon();
    },
    focus(key) {
      choices.focus = key;
      choices.hidden = choices.hidden.filter((hidden) => hidden !== key);
      drawSoon();
    },
  });
  refresh(view);
  for (const [id] of SECTIONS) {
    const empty = at(id).querySelectorAll(".panel:not([hidden])").length === 0;
    at(id).hidden = empty;
    document.querySelector(`#sections a[href="#${id}"]`).hidden = empty;
  }
}

// Which of many runs these are.
function drawPages({ all, from, total }) {
  const [newer, older] = at("pages").querySelectorAll("button");
  at("pages").hidden = total <= all.length && from === 0;
  at("pages-text").textContent = `Runs ${from + 1} to ${from + all.length} of ${total}`;
  newer.disabled = from + all.length >= total;
  older.disabled = from === 0;
}

function turn(direction) {
  const older = turnPage(direction);
  if (report) drawSoon();
  else showOlder(older);
}

// Draws once for many messages, and not at all while the page is hidden.
function drawSoon() {
  pending ??= requestAnimationFrame(draw);
}

// Draws news with a delay, in at most a tenth of the time: the processor that draws may be the one that trains.
function drawLater() {
  const due = drawn.at + Math.max(1000, 10 * drawn.took);
  timer ??= setTimeout(() => {
    timer = null;
    drawSoon();
  }, Math.max(0, due - performance.now()));
}

function say(state, text) {
  const place = at("connection");
  place.dataset.state = state;
  if (place.textContent !== text) place.textContent = text;
}

// Says whether anything is going on, as long as the server answers.
function sayLive() {
  if (!connected) return;
  const { all } = shownRuns();
  if (all.length) say("live", all.some(isAlive) ? "Live" : "Connected; nothing is training");
  else say("wait", "Connected");
}

function build() {
  recall();
  applyTheme();
  for (const [id, title, add] of SECTIONS) {
    const grid = element("div", { className: "grid" });
    at("panels").append(element("section", { id, hidden: true }, [element("h2", { textContent: title }), grid]));
    at("sections").append(element("a", { href: `#${id}`, textContent: title, hidden: true }));
    add(grid, drawSoon);
  }
  for (const [id, name, key] of [["theme", "theme", "value"], ["axis", "axis", "value"], ["smoothing", "smoothing", "value"], ["log", "log", "checked"], ["outliers", "outliers", "checked"]]) {
    at(id)[key] = choices[name];
    at(id).addEventListener("change", () => {
      choices[name] = at(id)[key];
      changed();
    });
  }
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  onSystemTheme(changed);
  at("newer").addEventListener("click", () => turn(-1));
  at("older").addEventListener("click", () => turn(1));
  at("stop").addEventListener("click", () => at("ask-stop").showModal());
  at("ask-stop").addEventListener("close", askedToStop);
  at("ask-token").addEventListener("close", () => setToken(at("token").value));
  // Without a token there is nothing to show.
  at("ask-token").addEventListener("cancel", (event) => event.preventDefault());
}

function changed() {
  remember();
  applyTheme();
  drawSoon();
}

async function askedToStop() {
  if (at("ask-stop").returnValue !== "stop") return;
  at("stop").disabled = true;
  const answer = await requestStop().catch(() => ({ ok: false, text: "the server does not answer" }));
  at("stop").textContent = answer.ok ? "Stopping …" : `Not stopped: ${answer.text}`;
  at("stop").disabled = answer.ok;
}

function connect() {
  let ended = false;
  follow({
    live() {
      ended = false;
      connected = true;
    },
    event(name, data) {
      if (name === "hello") {
        at("stop").hidden = !data.can_stop;
        // A resumed run has a new server; the old one may still be stopping its run.
        if (data.session !== session) Object.assign(at("stop"), { disabled: false, textContent: STOP });
        session = data.session;
        setClock(data.time);
      } else if (name === "runs") {
        arrange(data);
      } else if (name === "run") {
        apply(data);
      } else if (name === "bye") {
        ended = true;
        at("stop").hidden = true;
      }
      sayLive();
      drawLater();
    },
    lost(reason, seconds) {
      connected = false;
      if (ended) say("wait", "The process has ended; this page keeps what it has");
      else say("lost", `Connection lost: ${reason}. Trying again in ${seconds} s`);
    },
    tokenNeeded(text) {
      connected = false;
      say("wait", "Waiting for the token");
      at("token-answer").textContent = text;
      if (!at("ask-token").open) at("ask-token").showModal();
    },
  });
  // Times since the last line go on without news.
  setInterval(drawLater, 15_000);
}

build();
if (report) {
  JSON.parse(visible(report.textContent)).forEach(apply);
  say("wait", "Report: nothing here changes");
  draw();
} else {
  drawSoon();
  connect();
}
