// Drain, enable, disable, and reload: asked, then done.

import { confirm } from "./dialogs.js";
import { postJSON } from "./api.js";
import { id } from "./dom.js";
import { plural } from "./format.js";

const words = {
  drain: {
    title: (name) => `Drain ${name}?`, yes: "Drain", danger: false,
    text: (b) => `It gets no new sessions. ${running(b)} It is still checked, and Enable brings it back.`,
  },
  disable: {
    title: (name) => `Disable ${name}?`, yes: "Disable", danger: true,
    text: (b) => `It gets no new sessions and is not checked any more. ${running(b)} Enable brings it back.`,
  },
  enable: {
    title: (name) => `Enable ${name}?`, yes: "Enable", danger: false,
    text: () => "It gets new sessions again, as far as it is well.",
  },
};

const running = (b) => (b.sessions ? `${plural(b.sessions, "session")} that ${b.sessions === 1 ? "runs" : "run"} on it now go on.` : "None runs on it now.");

export function listenForVerbs(model) {
  id("pool-list").addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-verb]");
    if (!button || !model.state) return;
    const { verb, pool: poolName, backend: name } = button.dataset;
    const pool = model.state.pools.find((p) => p.name === poolName);
    const b = pool?.tiers.flatMap((t) => t.backends).find((x) => x.name === name);
    if (!b) return;
    const word = words[verb];
    const done = await confirm({
      title: word.title(name), yes: word.yes, danger: word.danger || last(pool, b, verb), text: word.text(b) + warning(pool, b, verb),
      act: () => postJSON(`api/v1/backends/${encodeURIComponent(poolName)}/${encodeURIComponent(name)}/${verb}`),
    });
    // The button that was pressed may be gone: the row's next one is where a
    // person at the keyboard goes on.
    if (done) setTimeout(() => refocus(button), 1200);
  });
}

export function listenForReload(events) {
  id("reload-button").addEventListener("click", async () => {
    const done = await confirm({
      title: "Reload the configuration?", yes: "Reload", danger: false,
      text: "The file is read again and checked whole: either all of it takes effect, or nothing does. Running sessions go on. What changed is told below.",
      act: () => postJSON("api/v1/reload"),
    });
    if (done) events.ask();
  });
}

function refocus(button) {
  if (document.activeElement && document.activeElement !== document.body) return;
  button.closest(".buttons")?.querySelector("button:not([hidden])")?.focus();
}

// last reports whether no relay of the pool would take sessions any more.
function last(pool, b, verb) {
  if (verb === "enable" || b.state !== "up") return false;
  return !pool.tiers.some((t) => t.backends.some((o) => o !== b && o.name !== b.name && o.state === "up" && o.weight > 0));
}

function warning(pool, b, verb) {
  if (last(pool, b, verb)) return ` It is the last relay of pool ${pool.name} that is up: clients will read 421 from then on.`;
  const tier = pool.tiers.find((t) => t.tier === b.tier);
  if (verb !== "enable" && b.state === "up" && tier?.active && tier.healthy - 1 < tier.min_healthy) {
    return ` Its tier has too few relays without it: new sessions go to the next tier that is usable.`;
  }
  return "";
}
