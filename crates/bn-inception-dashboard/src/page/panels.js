// Panels: what has a heading, and is drawn when it is in sight.
import { csv, download, element } from "./format.js";
import { swatch } from "./theme.js";
import { csvOf, figuresIn, pngOf, svgOf } from "./figure.js";
import { setLongest } from "./smoothing.js";
import { setTimeUnit } from "./rows.js";

const panels = [];

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const panel = panels.find((candidate) => candidate.root === entry.target);
    panel.near = entry.isIntersecting;
    if (panel.near && panel.stale) drawPanel(panel);
  }
}, { rootMargin: "200px" });

// Adds a panel: `{ title, note, wide, tools, of(view), has(view), coming(view), key(view), draw(body, view) }`. It is
// shown if `has` is true, or with the text of `coming` until then. It is drawn anew only when `key`, if there is one,
// changes. `of` says which run and step a panel of one run shows, as `[run, step]`. `view` is the state of the page.
export function addPanel(section, panel) {
  const heading = element("h3", { textContent: panel.title });
  const note = panel.note ? element("p", { className: "note", textContent: panel.note }) : null;
  const origin = panel.of ? element("p", { className: "of" }) : null;
  const body = element("div", { className: `body ${panel.bodyClass ?? ""}`.trim() });
  const empty = element("p", { className: "empty", hidden: true });
  const menu = menuOf(panel.title, body);
  const head = element("header", {}, [heading, panel.tools ?? null, menu]);
  const root = element("article", { className: panel.wide ? "panel wide" : "panel", "aria-label": panel.title }, [head, origin, note, body, empty]);
  section.append(root);
  panels.push({ ...panel, root, origin, body, empty, menu, near: false, stale: true });
  seen.observe(root);
}

// What one may do with a panel.
function menuOf(title, body) {
  const name = title.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  const actions = {
    Enlarge: () => enlarge(body.parentElement),
    "Data (CSV)": () => download(`${name}.csv`, "text/csv", dataOf(body)),
    "Picture (SVG)": () => figuresIn(body).forEach((figure) => download(`${name}.svg`, "image/svg+xml", svgOf(figure))),
    "Picture (PNG)": () => figuresIn(body).forEach(async (figure) => download(`${name}.png`, "image/png", await pngOf(figure))),
  };
  const menu = element("details", { className: "menu" }, [element("summary", { textContent: "⋯", "aria-label": `Menu of ${title}` })]);
  menu.append(element("div", {}, Object.entries(actions).map(([text, act]) => {
    const button = element("button", { type: "button", textContent: text });
    button.addEventListener("click", () => {
      menu.open = false;
      act();
    });
    return button;
  })));
  menu.addEventListener("toggle", () => {
    if (!menu.open) return;
    const [, data, ...pictures] = menu.querySelectorAll("button");
    pictures.forEach((button) => { button.hidden = !body.querySelector(".chart"); });
    data.hidden = !body.querySelector(".chart, table");
  });
  document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  return menu;
}

function dataOf(body) {
  const charts = figuresIn(body).map(csvOf).join("\r\n");
  const table = body.querySelector("table");
  return table ? csv([...table.rows].map((row) => [...row.cells].map((cell) => cell.dataset.text ?? cell.textContent.trim()))) : charts;
}

// Shows a panel alone, until Escape or another click on the entry.
function enlarge(root) {
  const large = !root.classList.contains("large");
  document.querySelector(".panel.large")?.classList.remove("large");
  root.classList.toggle("large", large);
  document.body.classList.toggle("covered", large);
  const entry = root.querySelector(".menu button");
  entry.textContent = large ? "Shrink" : "Enlarge";
  if (large) (root.querySelector(".chart") ?? root.querySelector("summary")).focus();
}

document.addEventListener("keydown", (event) => {
  const large = document.querySelector(".panel.large");
  if (event.key === "Escape" && large) enlarge(large);
});

// What a panel of the run in focus shows: its newest step.
export function focused(view) {
  return [view.focus, view.focus.standing.step];
}

// What a panel of the cell called `name` shows: the step of the validation that it comes from.
export function ofCell(name) {
  return (view) => {
    const cell = view.focus.details.cells[name];
    return [view.focus, Array.isArray(cell) ? cell[0] : cell.step];
  };
}

// Shows every panel that applies. Panels out of sight are drawn when they come into sight.
export function refresh(view) {
  setLongest(Math.max(0, ...view.runs.map((run) => run.standing.step)));
  setTimeUnit(Math.max(0, ...view.runs.map((run) => run.standing.seconds)));
  for (const panel of panels) {
    panel.view = view;
    const full = Boolean(panel.has(view));
    // Nothing more comes into a report.
    const text = full || !view.live ? null : panel.coming?.(view) ?? null;
    panel.root.hidden = !full && text === null;
    panel.body.hidden = !full;
    panel.menu.hidden = !full;
    if (panel.tools) panel.tools.hidden = !full;
    panel.empty.hidden = full || text === null;
    panel.empty.textContent = text ?? "";
    if (panel.origin) {
      const [run, step] = (full && panel.of(view)) || [];
      panel.origin.hidden = !run;
      panel.origin.replaceChildren(...(run ? [swatch(run), ` ${run.title}, step ${step.toLocaleString("en")}`] : []));
    }
    panel.stale = full;
    if (panel.stale && panel.near) drawPanel(panel);
  }
}

// Draws those out of sight, too.
export function drawAllPanels() {
  panels.filter(({ stale }) => stale).forEach(drawPanel);
}

function drawPanel(panel) {
  panel.stale = false;
  const key = panel.key && JSON.stringify(panel.key(panel.view));
  if (key && key === panel.drawn) return;
  panel.drawn = key;
  panel.draw(panel.body, panel.view);
}
