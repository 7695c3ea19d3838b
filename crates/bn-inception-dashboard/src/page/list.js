// The list of runs: which of them are shown, in which order, in which groups.
import { element, plain } from "./format.js";
import { choices, lineSample, paletteColour, swatch, themeName } from "./theme.js";
import { isAlive, isOver } from "./store.js";
import { RESULTS, differingSettings, settingsOf } from "./names.js";
import { said, sorted } from "./comparison.js";
import { highlight } from "./figure.js";

const BADGES = { finished: ["✓", "finished"], failed: ["✕", "failed"], interrupted: ["■", "stopped"] };

// Runs whose title, settings or state contain every word of the filter; a word such as `recipe=bn-x5` is a whole setting.
export function filtered(runs) {
  const words = choices.filter.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return runs;
  return runs.filter((run) => {
    const settings = Object.entries(settingsOf(run)).map(([name, value]) => `${name}=${plain(value)}`.toLowerCase());
    const text = [run.title, run.name, badge(run)[1], ...settings].join(" ").toLowerCase();
    const matches = (word) => {
      const name = word.split("=")[0];
      const isSetting = word.includes("=") && settings.some((setting) => setting.startsWith(`${name}=`));
      return isSetting ? settings.includes(word) : text.includes(word);
    };
    return words.every(matches);
  });
}

function badge(run) {
  if (isOver(run)) return BADGES[run.standing.status];
  return isAlive(run) ? ["●", "training"] : ["○", "silent"];
}

// Connects the controls of the list. `on` has functions changed() and focus(key).
export function prepareList(place, on) {
  const at = (name) => place.querySelector(`[name=${name}]`);
  const controls = { filter: "input", sort: "change", group: "change", mean: "change" };
  for (const [name, event] of Object.entries(controls)) {
    at(name).addEventListener(event, () => {
      choices[name] = name === "mean" ? at(name).checked : at(name).value;
      if (name === "sort") choices.descending = choices.sort in RESULTS;
      on.changed();
    });
  }
  at("direction").addEventListener("click", () => {
    choices.descending = !choices.descending;
    on.changed();
  });
  for (const [name, hides] of [["all", false], ["none", true]]) {
    at(name).addEventListener("click", () => {
      for (const row of place.querySelectorAll(".run")) choices.hidden[hides ? "add" : "delete"](row.dataset.key);
      on.chosen();
    });
  }
  place.addEventListener("change", ({ target }) => {
    const keys = target.dataset.keys?.split(",");
    if (!keys) return;
    for (const key of keys) choices.hidden[target.checked ? "delete" : "add"](key);
    on.chosen();
  });
  place.addEventListener("click", ({ target }) => {
    const row = target.closest(".run");
    if (row && target.closest(".title")) on.focus(row.dataset.key);
  });
  place.addEventListener("pointerover", ({ target }) => highlight(target.closest(".run")?.dataset.key ?? null));
  place.addEventListener("pointerleave", () => highlight(null));
  place.addEventListener("focusin", ({ target }) => highlight(target.closest(".run")?.dataset.key ?? null));
  place.addEventListener("focusout", () => highlight(null));
}

function fill(select, options, chosen) {
  const key = JSON.stringify(options);
  if (select.dataset.options !== key) {
    select.replaceChildren(...options.map(([value, textContent]) => element("option", { value, textContent })));
    select.dataset.options = key;
  }
  select.value = chosen;
}

// Draws the list of `view.listed`, in `view.groups` if there is a grouping.
export function drawList(place, view) {
  const { all, listed, grouped, runs } = view;
  place.hidden = all.length < 2;
  document.body.classList.toggle("several", all.length > 1);
  const at = (name) => place.querySelector(`[name=${name}]`);
  const settings = differingSettings(all);
  const named = (names) => names.map((name) => [name, name]);
  fill(at("sort"), [["order", "order"], ["name", "name"], ...named(Object.keys(RESULTS)), ...named(settings)], choices.sort);
  fill(at("group"), [["", "nothing"], ...named(settings)], grouped.setting);
  at("direction").textContent = choices.descending ? "▾" : "▴";
  at("direction").ariaLabel = choices.descending ? "Descending; sort ascending" : "Ascending; sort descending";
  if (document.activeElement !== at("filter")) at("filter").value = choices.filter;
  at("mean").checked = choices.mean;
  place.querySelector(".count").textContent = `${runs.length} of ${all.length} runs`;
  const value = choices.sort === "order" || choices.sort === "name" ? "best top-1" : choices.sort;
  const groups = grouped.groups.map((group) => ({ ...group, own: sorted(listed.filter((run) => group.runs.includes(run)), choices.sort, choices.descending) })).filter(({ own }) => own.length);
  const list = place.querySelector("ul");
  // Drawing a hundred rows takes longer than finding that they are the same.
  const key = JSON.stringify([themeName(), grouped.setting, view.focus?.key, groups.map(({ own }) => own.map((run) => [run.key, run.title, run.shade, said(run, value), badge(run), choices.hidden.has(run.key)]))]);
  if (list.dataset.drawn === key) return;
  list.dataset.drawn = key;
  const rows = groups.flatMap((group) => [grouped.setting ? groupRow(group, group.own) : null, ...group.own.map((run) => runRow(run, view, value))].filter(Boolean));
  const [focus, kept] = [document.activeElement?.dataset?.id, list.scrollTop];
  list.replaceChildren(...rows);
  list.scrollTop = kept;
  if (focus) [...list.querySelectorAll("[data-id]")].find(({ dataset }) => dataset.id === focus)?.focus();
}

function boxOf(keys, id, label) {
  const shown = keys.filter((key) => !choices.hidden.has(key)).length;
  const box = element("input", { type: "checkbox", checked: shown > 0, indeterminate: shown > 0 && shown < keys.length, "aria-label": label });
  Object.assign(box.dataset, { keys: keys.join(), id });
  return box;
}

function groupRow(group, own) {
  const box = boxOf(own.map(({ key }) => key), `group ${group.name}`, `Show ${group.title}`);
  return element("li", { className: "group" }, [box, lineSample(paletteColour(group.shade)), element("span", { textContent: group.title }), element("span", { className: "value", textContent: own.length })]);
}

function runRow(run, view, value) {
  const [sign, meaning] = badge(run);
  const title = element("button", { type: "button", className: "title", textContent: view.grouped.setting ? run.within(view.grouped.setting) : run.title, title: `${run.title} (${run.name})` });
  if (view.focus?.key === run.key) title.setAttribute("aria-current", "true");
  title.dataset.id = `title ${run.key}`;
  const row = element("li", { className: "run" }, [
    boxOf([run.key], `box ${run.key}`, `Show ${run.title}`),
    swatch(run),
    title,
    element("span", { className: "value", textContent: said(run, value) }),
    element("span", { className: `badge ${meaning}`, textContent: sign, title: meaning, role: "img", "aria-label": meaning }),
  ]);
  row.dataset.key = run.key;
  return row;
}
