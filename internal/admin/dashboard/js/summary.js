// The top of the page: verdict, title, numbers, link; and what is spoken.

import { id, h, setText, setAttr, setHidden } from "./dom.js";
import { clock, count, duration, plural, rate } from "./format.js";
import { differences, verdict } from "./verdict.js";
import { keyOf } from "./model.js";

const tiles = new Map(); // label -> {value, more}

function tile(label, value, more = "") {
  let of = tiles.get(label);
  if (!of) {
    of = { value: h("dd"), more: h("dd", { class: "faint" }) };
    id("numbers").append(h("div", {}, h("dt", {}, label), of.value, of.more));
    tiles.set(label, of);
  }
  setText(of.value, value);
  setText(of.more, more);
}

export function renderSummary(model, perSecond) {
  const { state } = model;
  const said = verdict(state);
  setAttr(id("verdict"), "data-level", said.level);
  setText(id("verdict-word"), said.word);
  setText(id("verdict-text"), said.text);
  document.title = `${said.title} - smtplb`;
  setText(id("version"), state.version);
  renderNumbers(model, perSecond);
  const listeners = state.listeners.map((l) => `${l.name} on ${l.address}`);
  const few = listeners.length > 3 ? [...listeners.slice(0, 3), `and ${listeners.length - 3} more`] : listeners;
  setText(id("listeners"), listeners.length ? `Listening: ${few.join(", ")}` : "No listener is bound.");
  setAttr(id("listeners"), "title", listeners.length > 3 ? listeners.join(", ") : null);
}

function renderNumbers(model, perSecond) {
  const { state } = model;
  const ends = state.sessions.ends;
  let up = 0;
  let all = 0;
  let failed = 0;
  for (const pool of state.pools) {
    for (const tier of pool.tiers) {
      for (const b of tier.backends) {
        all++;
        if (b.state === "up") up++;
        failed += model.lately(model.history(pool.name, b.name)?.failures);
      }
    }
  }
  tile("Open sessions", count(state.sessions.open), `${count(state.sessions.accepted)} accepted since the start`);
  tile("New sessions", rate(perSecond), "that a relay greeted, now");
  tile("Relays up", `${count(up)} of ${count(all)}`, `in ${plural(state.pools.length, "pool")}`);
  tile("Failed attempts", count(failed), "last 5 min; the next relay was asked");
  const away = (ends.no_backend ?? 0) + (ends.client_limit ?? 0) + (ends.denied ?? 0);
  tile("Turned away", count(away), `${count(ends.no_backend ?? 0)} no relay, ${count(ends.client_limit ?? 0)} limit, ${count(ends.denied ?? 0)} denied`);
  tile("Running for", duration(state.uptime_seconds), `since ${clock(new Date(state.started_at))}`);
}

export function renderLink(kind, text) {
  setAttr(id("link"), "data-link", kind);
  setText(id("link-text"), text);
}

// renderAway says that there is no answer, and that what is shown is old.
export function renderAway(error, lastAnswer) {
  const since = lastAnswer ? `No answer since ${clock(lastAnswer)}` : "No answer yet";
  const why = error.status ? ` (${error.message})` : "";
  const next = error.status === 401 ? "give the token to go on" : "trying again";
  renderLink("away", lastAnswer ? `no answer since ${clock(lastAnswer)}` : "no answer yet");
  setText(id("notice"), `${since}${why}; ${next}.${lastAnswer ? " What is shown below is as it was then." : ""}`);
  setHidden(id("notice"), false);
  document.title = "no answer - smtplb";
  document.body.classList.add("stale");
}

export function renderLive() {
  renderLink("live", "live");
  setHidden(id("notice"), true);
  document.body.classList.remove("stale");
}

let before = null; // the states at the last look
const most = 4; // sentences at a time

// speak tells of changes to who listens. A shape that is another has no changes.
export function speak(model) {
  const after = new Map();
  for (const pool of model.state.pools) {
    for (const tier of pool.tiers) {
      for (const b of tier.backends) after.set(keyOf(pool.name, b.name), { pool: pool.name, name: b.name, state: b.state, reason: b.reason });
    }
  }
  const said = before ? differences(before, after) : [];
  before = after;
  if (said.length) {
    const more = said.length > most ? [`and ${said.length - most} more`] : [];
    id("spoken").textContent = [...said.slice(0, most), ...more].join(". ");
  }
  return said.length > 0;
}
