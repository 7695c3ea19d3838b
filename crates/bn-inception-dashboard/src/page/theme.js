// The user's choices, and the colours that follow from them.
import { element } from "./format.js";

// The palette of Okabe and Ito, distinguishable with any colour vision, in an order that begins with strong contrast to
// the page.
const COLOURS = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b6b"],
  dark: ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#f0e442", "#bbbbbb"],
};
const DASHES = ["solid", "dash", "dot", "dashdot"];

export const choices = { theme: "auto", axis: "step", smoothing: "auto", log: false, outliers: false, target: null, focus: null, hidden: [] };
const KEPT = ["theme", "axis", "smoothing", "log", "outliers"];
const systemDark = matchMedia("(prefers-color-scheme: dark)");

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
  if (choices.theme !== "auto") return choices.theme;
  return systemDark.matches ? "dark" : "light";
}

export function applyTheme() {
  document.documentElement.dataset.theme = themeName();
}

export function onSystemTheme(changed) {
  systemDark.addEventListener("change", changed);
}

export function cssColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function runColour(index) {
  const colours = COLOURS[themeName()];
  return colours[index % colours.length];
}

// The dash distinguishes runs of the same colour.
export function runDash(index) {
  return DASHES[Math.floor(index / COLOURS.light.length) % DASHES.length];
}

// The line of a run, as a sample.
export function swatch(run) {
  const made = element("span", { className: "swatch" });
  made.style.borderTopColor = runColour(run.index);
  made.style.borderTopStyle = { solid: "solid", dash: "dashed", dot: "dotted" }[runDash(run.index)] ?? "double";
  return made;
}

export function faded(colour, opacity) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgba(${r}, ${g}, ${b}, ${opacity})`;
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
