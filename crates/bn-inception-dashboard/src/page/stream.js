// The connection to the server: server-sent events over `fetch`, because an `EventSource` sends no token and does not
// say why it failed.
import { visible } from "./format.js";

const QUIET = 25_000; // milliseconds; the server sends a keep-alive every ten seconds
const AGAIN = Symbol("with the new token, or for other runs");

let token = null;
let wake = () => {};
let skipped = 0; // pages of runs newer than those followed
let current = null; // what aborts the request under way

// Uses `given`, the token of the address, or the one that was used before.
export function openWith(given) {
  token = given;
  try {
    if (given) sessionStorage.setItem("bn-inception-token", given);
    token = given ?? sessionStorage.getItem("bn-inception-token");
  } catch { /* asked for after a reload */ }
}

export function setToken(given) {
  token = given;
  try {
    sessionStorage.setItem("bn-inception-token", given);
  } catch { /* asked for again after a reload */ }
  wake();
}

// Follows the runs that are `pages` pages before the newest.
export function showOlder(pages) {
  skipped = pages;
  current?.abort(AGAIN);
  wake();
}

function headers() {
  return token ? { authorization: `Bearer ${token}` } : {};
}

export async function requestStop() {
  const answer = await fetch("stop", { method: "POST", headers: headers() });
  return { ok: answer.ok, text: (await answer.text()).trim() };
}

// Asks the server for the answer to a question about the data, both JSON.
export async function ask(path, question) {
  const answer = await fetch(path, { method: "POST", headers: { ...headers(), "content-type": "application/json" }, body: JSON.stringify(question) });
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return JSON.parse(visible(await answer.text()));
}

// Follows the server for ever. `on` has functions live(), event(name, data), lost(reason, seconds), tokenNeeded(text).
export async function follow(on) {
  let failures = 0;
  for (;;) {
    let reason = "the server ended it";
    try {
      const outcome = await read(on, () => { failures = 0; });
      if (outcome === AGAIN) continue;
      if (outcome) reason = outcome;
    } catch (error) {
      if (error === AGAIN) continue;
      reason = error.name === "AbortError" ? "nothing was heard for too long" : "the server does not answer";
    }
    failures += 1;
    const seconds = Math.min(2 ** (failures - 1), 15);
    on.lost(reason, seconds);
    await new Promise((done) => {
      wake = done;
      setTimeout(done, 1000 * seconds);
    });
  }
}

async function read(on, connected) {
  const abort = new AbortController();
  current = abort;
  let timer = setTimeout(() => abort.abort(), QUIET);
  try {
    const answer = await fetch(skipped ? `events?older=${skipped}` : "events", { headers: headers(), signal: abort.signal });
    if (answer.status === 401) {
      clearTimeout(timer);
      on.tokenNeeded((await answer.text()).trim());
      await new Promise((done) => { wake = done; });
      return AGAIN;
    }
    if (!answer.ok) return (await answer.text()).trim() || `status ${answer.status}`;
    connected();
    on.live();
    const text = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const parts = [];
    for (;;) {
      const { done, value } = await text.read();
      if (done) return null;
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), QUIET);
      // Joined only when an event may be complete: one may come in many parts.
      parts.push(value);
      if (!value.includes("\n")) continue;
      const events = parts.join("").split("\n\n");
      parts.splice(0, parts.length, events.pop());
      events.forEach((event) => dispatch(event, on));
    }
  } finally {
    clearTimeout(timer);
  }
}

function dispatch(block, on) {
  const fields = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
  }
  if (fields.data !== undefined) on.event(fields.event, JSON.parse(visible(fields.data)));
}
