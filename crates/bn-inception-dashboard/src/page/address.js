// The state of the view in the address, so that a link shows what its sender saw. It stands after the `#`, which
// browsers do not send.
import { choices } from "./theme.js";
import { lasting } from "./rows.js";

// Choices with their text; what is as usual is left out.
const TEXTS = {
  axis: { read: (text) => (["step", "images", "hours"].includes(text) ? text : undefined), usual: "step" },
  smoothing: { read: (text) => (/^(off|auto|\d{1,5})$/.test(text) ? text : undefined), usual: "auto" },
  log: { read: (text) => text === "true", usual: false },
  outliers: { read: (text) => text === "true", usual: false },
  group: { read: (text) => text, usual: "auto" },
  mean: { read: (text) => text === "true", usual: false },
  filter: { read: (text) => text, usual: "" },
  sort: { read: (text) => text, usual: "order" },
  descending: { read: (text) => text === "true", usual: false },
  target: { read: (text) => (Number(text) > 0 && Number(text) <= 1 ? Number(text) : undefined), usual: null },
  focus: { read: (text) => text, usual: null },
  zoom: { read: range, write: (zoom) => lasting(zoom).map((value) => Number(value.toPrecision(6))).join("-"), usual: null },
};

function range(text) {
  const [low, high] = text.split("-").map(Number);
  return low < high ? [low, high] : undefined;
}

let addressed = null; // the runs that an address names, until they have arrived: `{ hidden: [] }` or `{ runs: [] }`

// Takes the choices out of the address, and the token, if it has one, which does not stay there. Returns the token.
export function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const token = given.get("token");
  given.delete("token");
  for (const [name, { read, usual }] of given.size ? Object.entries(TEXTS) : []) {
    // What a link leaves out was as usual for its sender, whatever it was here the last time.
    choices[name] = (given.has(name) ? read(given.get(name)) : undefined) ?? usual;
  }
  if (given.has("runs")) addressed = { runs: given.get("runs").split(",") };
  else if (given.has("hidden")) addressed = { hidden: given.get("hidden").split(",") };
  if (token) history.replaceState(null, "", `${location.pathname}${location.search}${given.size ? `#${given}` : ""}`);
  return token;
}

// Runs are named by a part of their key that tells them apart.
const idOf = (run) => run.key.slice(0, 8);

// Hides the runs that the address did not name, once they are known.
export function hideAsAddressed(runs) {
  if (!addressed || !runs.length) return;
  for (const run of runs) {
    const named = (addressed.runs ?? addressed.hidden).includes(idOf(run));
    if (addressed.runs ? !named : named) choices.hidden.add(run.key);
  }
}

// The user has chosen runs; what the address said is over.
export function forgetAddress() {
  addressed = null;
}

// Writes the choices into the address. `all` are the runs listed.
export function writeAddress(all) {
  const given = [];
  for (const [name, { usual, write = String }] of Object.entries(TEXTS)) {
    const value = choices[name];
    if (value !== usual) given.push([name, write(value)]);
  }
  const hidden = all.filter((run) => choices.hidden.has(run.key));
  const rest = all.filter((run) => !choices.hidden.has(run.key));
  if (hidden.length && rest.length < hidden.length) given.push(["runs", rest.map(idOf).join() || "none"]);
  else if (hidden.length) given.push(["hidden", hidden.map(idOf).join()]);
  const text = given.map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2C", ",")}`).join("&");
  const target = text ? `#${text}` : `${location.pathname}${location.search}`;
  if (location.hash.slice(1) !== text) history.replaceState(null, "", target);
}
