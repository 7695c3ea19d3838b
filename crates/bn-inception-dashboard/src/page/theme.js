// The user's choices, and the colours that follow from them.
import { element } from "./format.js";

// The palette of Okabe and Ito, distinguishable with any colour vision, in an order that begins with strong contrast to
// the page.
const COLOURS = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b6b"],
  dark: ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#f0e442", "#bbbbbb"],
};
const DASHES = ["solid", "dash", "dot", "dashdot"];

// Runs hidden by hand are in `hidden`, by their key; `zoom` is a range of the horizontal axis; `group` is a setting by
// which runs are grouped, `"auto"` if the user has not chosen; `mean` draws groups instead of runs.
export const choices = { theme: "auto", axis: "step", smoothing: "auto", log: false, outliers: false, zoom: null, group: "auto", mean: false, filter: "", sort: "order", descending: false, target: null, focus: null, hidden: new Set() };
const KEPT = ["theme", "axis", "smoothing", "log", "outliers"];
const systemDark = matchMedia("(prefers-color-scheme: dark)");
let printing = false;

// Storage may be forbidden, empty or of another version.
export function recall() {
  try {
    const kept = JSON.parse(localStorage.getItem("bn-inception-dashboard") ?? "{}");
    for (const name of KEPT) {
      if (typeof kept[name] === typeof choices[name]) choices[name] = kept[name];
    }
  } catch { /* keeps the defaults */ }
}

export function remember() {
  try {
    const kept = Object.fromEntries(KEPT.map((name) => [name, choices[name]]));
    localStorage.setItem("bn-inception-dashboard", JSON.stringify(kept));
  } catch { /* the next visit starts with the defaults */ }
}

export function themeName() {
  if (printing) return "light";
  if (choices.theme !== "auto") return choices.theme;
  return systemDark.matches ? "dark" : "light";
}

export function applyTheme() {
  document.documentElement.dataset.theme = themeName();
}

export function onSystemTheme(changed) {
  systemDark.addEventListener("change", changed);
}

// Pages are printed in the light theme. Calls `changed` before, with true, and after.
export function onPrint(changed) {
  for (const [name, begins] of [["beforeprint", true], ["afterprint", false]]) {
    addEventListener(name, () => {
      printing = begins;
      changed(begins);
    });
  }
}

export function cssColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function paletteColour(index) {
  const colours = COLOURS[themeName()];
  return colours[index % colours.length];
}

// Colour and dash of a run: by its number, or by that of its group. The dash distinguishes runs of the same colour.
export function runColour(run) {
  return paletteColour(run.shade ?? run.index);
}

export function runDash(run) {
  return run.shade === undefined ? dashOf(run.index) : "solid";
}

function dashOf(index) {
  return DASHES[Math.floor(index / COLOURS.light.length) % DASHES.length];
}

// A sample of a line.
export function lineSample(colour, dash = "solid") {
  const made = element("span", { className: "swatch" });
  made.style.borderTopColor = colour;
  made.style.borderTopStyle = { solid: "solid", dash: "dashed", dot: "dotted" }[dash] ?? "double";
  return made;
}

export function swatch(run) {
  return lineSample(runColour(run), runDash(run));
}

// Part of the colour map Cividis, which is perceptually uniform.
const CIVIDIS = {
  light: [[0, 34, 78], [67, 78, 108], [125, 124, 120], [188, 174, 108], [214, 190, 60]],
  dark: [[80, 110, 190], [125, 135, 165], [165, 160, 150], [215, 195, 110], [254, 232, 80]],
};

// Colour of the `index`-th of `count` things in an order.
export function ordered(index, count) {
  const stops = CIVIDIS[themeName()];
  const place = count > 1 ? (index / (count - 1)) * (stops.length - 1) : 0;
  const low = Math.min(Math.floor(place), stops.length - 2);
  const mixed = stops[low].map((value, i) => Math.round(value + (place - low) * (stops[low + 1][i] - value)));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

// Colour of a share from 0 to 1 in a heat map: all of Cividis, whatever the theme.
const CIVIDIS_WHOLE = [[0, 34, 78], [53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [254, 232, 56]];

export function heatColour(share) {
  const place = Math.max(0, Math.min(1, share || 0)) * (CIVIDIS_WHOLE.length - 1);
  const low = Math.min(Math.floor(place), CIVIDIS_WHOLE.length - 2);
  const mixed = CIVIDIS_WHOLE[low].map((value, i) => Math.round(value + (place - low) * (CIVIDIS_WHOLE[low + 1][i] - value)));
  return `rgb(${mixed.join(", ")})`;
}
