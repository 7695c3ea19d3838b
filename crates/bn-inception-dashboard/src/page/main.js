// The page: its sections, controls and connection.
import { element, visible } from "./format.js";
import { applyTheme, choices, onPrint, onSystemTheme, recall, remember } from "./theme.js";
import { apply, applyCurves, applyDetails, arrange, isAlive, isOver, listedRuns, runCalled, setClock, turnPage } from "./store.js";
import { forgetAddress, hideAsAddressed, readAddress, writeAddress } from "./address.js";
import { follow, openWith, requestStop, setToken, showOlder } from "./stream.js";
import { goOnline, setRuns, wantDetails } from "./source.js";
import { groupRuns, nameRuns } from "./names.js";
import { highlight, onPointing, printPictures, repaintAll, setSpan } from "./figure.js";
import { spanOfRuns } from "./rows.js";
import { drawAllPanels, refresh } from "./panels.js";
import { addMachine, addTraining } from "./curves.js";
import { addNetwork } from "./network.js";
import { addRanks } from "./ranks.js";
import { addValidation } from "./validation.js";
import { addComparison } from "./comparison.js";
import { addAbout, drawState } from "./status.js";
import { drawList, filtered, prepareList } from "./list.js";

const SECTIONS = [
  ["training", "Training", addTraining],
  ["comparison", "Comparison", addComparison],
  ["predictions", "Predictions", addValidation],
  ["network", "Network", addNetwork],
  ["machine", "Machine", (section) => [addRanks, addMachine].forEach((add) => add(section))],
  ["about", "About", addAbout],
];

const STOP = "Stop the run";

const at = (id) => document.getElementById(id);
const report = at("report");
const live = !report;
let pending = null;
let timer = null;
let connected = false;
let isAddressed = false; // the address says what is shown
let session = null; // the server's, another one after it was restarted
let drawn = { at: -Infinity, took: 0 }; // milliseconds

// The state of the page: all runs, those listed, those shown, and the one whose details are shown.
function currentView() {
  const { all, from, total } = listedRuns();
  nameRuns(all);
  hideAsAddressed(all);
  const grouped = groupRuns(all);
  const listed = filtered(all);
  const runs = listed.filter((run) => !choices.hidden.has(run.key));
  const groups = grouped.groups.map((group) => ({ ...group, runs: group.runs.filter((run) => runs.includes(run)) })).filter((group) => group.runs.length);
  const usual = runs.find((run) => !isOver(run)) ?? runs.at(-1) ?? all.at(-1);
  // Of hidden runs only when none is shown.
  const chosen = all.find((run) => run.key.slice(0, 8) === choices.focus);
  const focus = chosen && (runs.includes(chosen) || !runs.length) ? chosen : usual;
  return { all, from, total, listed, runs, grouped, groups, focus, live };
}

function draw() {
  pending = null;
  const begun = performance.now();
  drawAll(currentView());
  drawn = { at: begun, took: performance.now() - begun };
}

function drawAll(view) {
  setRuns(view.runs.length);
  drawPages(view);
  sayLive();
  drawList(at("list"), view);
  drawState(at("state"), view);
  refresh(view);
  setSpan(spanOfRuns(view.runs.length || !view.focus ? view.runs : [view.focus]));
  for (const [id] of SECTIONS) {
    const empty = at(id).querySelectorAll(".panel:not([hidden])").length === 0;
    at(id).hidden = empty;
    document.querySelector(`#sections a[href="#${id}"]`).hidden = empty;
  }
  at("unzoom").hidden = !choices.zoom;
  if (view.focus) wantDetails(view.focus);
}

// Which of many runs these are.
function drawPages({ all, from, total }) {
  at("pages").hidden = total <= all.length && from === 0;
  at("pages-text").textContent = `Runs ${from + 1} to ${from + all.length} of ${total}`;
  at("newer").disabled = from + all.length >= total;
  at("older").disabled = from === 0;
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

// The user has changed the view.
function changed() {
  writeAddress(listedRuns().all);
  drawSoon();
}

// The user has chosen runs.
function chosen() {
  forgetAddress();
  changed();
}

// Draws news with a delay, in at most a tenth of the time: the processor that draws may be the one that trains.
function drawLater() {
  const due = drawn.at + Math.max(Math.min(1000, 100 + 50 * listedRuns().all.length), 10 * drawn.took);
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
  const { all } = listedRuns();
  if (all.length) say("live", all.some(isAlive) ? "Live" : "Connected; nothing is training");
  else say("wait", "Connected");
}

function build() {
  recall();
  openWith(readAddress());
  applyTheme();
  for (const [id, title, add] of SECTIONS) {
    const grid = element("div", { className: "grid" });
    at("panels").append(element("section", { id, hidden: true }, [element("h2", { textContent: title }), grid]));
    const link = element("a", { href: `#${id}`, textContent: title, hidden: true });
    link.addEventListener("click", (event) => {
      // The part of the address after the `#` is taken.
      event.preventDefault();
      at(id).scrollIntoView();
    });
    at("sections").append(link);
    add(grid, changed);
  }
  for (const [id, name, key] of [["theme", "theme", "value"], ["axis", "axis", "value"], ["smoothing", "smoothing", "value"], ["log", "log", "checked"], ["outliers", "outliers", "checked"]]) {
    at(id)[key] = choices[name];
    at(id).addEventListener("change", () => {
      choices[name] = at(id)[key];
      // A range counts in the unit of its axis.
      if (name === "axis") choices.zoom = null;
      applyTheme();
      remember();
      changed();
    });
  }
  prepareList(at("list"), {
    changed,
    chosen,
    focus(key) {
      choices.focus = key.slice(0, 8);
      changed();
    },
  });
  let settled = null;
  onPointing((range) => {
    choices.zoom = range;
    repaintAll();
    // The rest follows when the range has stopped moving.
    clearTimeout(settled);
    settled = setTimeout(changed, 400);
  }, highlight);
  at("unzoom").addEventListener("click", () => {
    choices.zoom = null;
    changed();
  });
  // What sticks to the top may take two lines.
  new ResizeObserver(() => {
    const sticks = getComputedStyle(at("controls")).position === "sticky";
    document.documentElement.style.setProperty("--bar", `${sticks ? at("controls").offsetHeight : 0}px`);
  }).observe(at("controls"));
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  onSystemTheme(() => {
    applyTheme();
    drawSoon();
  });
  onPrint((begins) => {
    applyTheme();
    draw();
    if (begins) drawAllPanels();
    printPictures(begins);
  });
  at("newer").addEventListener("click", () => turn(-1));
  at("older").addEventListener("click", () => turn(1));
  at("stop").addEventListener("click", () => at("ask-stop").showModal());
  at("ask-stop").addEventListener("close", askedToStop);
  at("ask-token").addEventListener("close", () => setToken(at("token").value));
  // Without a token there is nothing to show.
  at("ask-token").addEventListener("cancel", (event) => event.preventDefault());
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
        if (data.complete && !isAddressed) {
          // What was chosen the last time belongs into the address, too.
          isAddressed = true;
          hideAsAddressed(listedRuns().all);
          changed();
        }
        drawSoon();
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
  for (const { summary, curves, details } of JSON.parse(visible(report.textContent))) {
    apply(summary);
    const run = runCalled(summary.key);
    applyCurves(run, run.names, curves);
    applyDetails(run, details);
  }
  say("wait", "Report: nothing here changes");
  draw();
} else {
  goOnline((waited) => (waited ? drawSoon() : drawLater()));
  drawSoon();
  connect();
}
addEventListener("hashchange", () => location.reload());
