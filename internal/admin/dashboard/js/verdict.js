// How bad it is, in one word and one sentence: for the top of the page, its
// title, and who listens to it instead of looking.

import { count, plural } from "./format.js";
import { reachLevel, meaning } from "./cluster.js";

const levels = ["ok", "note", "warn", "bad"];
export const worse = (a, b) => levels.indexOf(a) > levels.indexOf(b);

const ofState = { up: "ok", draining: "note", disabled: "note", busy: "warn", ejected: "warn", down: "warn" };
export const levelOf = (backend) => ofState[backend.state] ?? "warn";

// poolVerdict is {level, word, text, up, all} of a pool.
export function poolVerdict(pool) {
  const backends = pool.tiers.flatMap((t) => t.backends);
  const up = backends.filter((b) => b.state === "up").length;
  const said = { level: "ok", word: "good", text: "", up, all: backends.length };
  const raise = (level, word, text) => {
    if (worse(level, said.level)) Object.assign(said, { level, word, text });
  };
  const usable = backends.some((b) => b.state === "up" && b.weight > 0);
  if (!usable) raise("bad", "no relay", "no relay takes sessions: clients read 421");
  const active = pool.tiers.find((t) => t.active);
  if (pool.failover && active) raise("warn", "failover", `new sessions go to tier ${active.tier}`);
  const sick = backends.filter((b) => levelOf(b) === "warn");
  if (sick.length) raise("warn", sick.length === 1 ? sick[0].state : `${sick.length} not well`, named(sick));
  const out = backends.filter((b) => levelOf(b) === "note");
  if (out.length) raise("note", out.length === 1 ? out[0].state : `${out.length} out`, named(out));
  return said;
}

function named(backends) {
  const first = backends.slice(0, 3).map((b) => `${b.name} is ${b.state}`);
  return first.join(", ") + (backends.length > 3 ? ` and ${backends.length - 3} more are not up` : "");
}

const words = { note: "Under way", warn: "Look at it", bad: "Trouble" };

// verdict is {level, word, text, title} of everything.
export function verdict(state) {
  if (!state.ready) {
    const text = `clients are not accepted: ${state.not_ready_reason || "no reason given"}`;
    return { level: "bad", word: "Not ready", text, title: "not ready" };
  }
  const { descriptors, descriptor_limit: most } = state.sessions;
  if (most > 0 && descriptors + 2 > most) {
    const text = `new clients wait until a session ends: sessions hold ${count(descriptors)} of ${count(most)} file descriptors (LimitNOFILE)`;
    return { level: "bad", word: "Full", text, title: "full" };
  }
  if (!state.pools.length) return { level: "warn", word: "Empty", text: "there is no pool", title: "no pool" };
  const all = state.pools.map((pool) => ({ pool, said: poolVerdict(pool) }));
  const top = all.reduce((a, b) => (worse(b.said.level, a.said.level) ? b : a));
  const same = all.filter((v) => v.said.level === top.said.level);
  const up = all.reduce((n, v) => n + v.said.up, 0);
  const relays = all.reduce((n, v) => n + v.said.all, 0);
  const sum = up === relays ? `all ${plural(relays, "relay")} up` : `${count(up)} of ${plural(relays, "relay")} up`;
  const lost = (state.names ?? []).filter((n) => n.error);
  if (lost.length && worse("warn", top.said.level)) {
    const others = lost.length > 1 ? `, and ${plural(lost.length - 1, "more name")}` : "";
    const text = `${lost[0].name} cannot be looked up${others}: ${lost[0].error}; what was known is used still; ${sum}`;
    return { level: "warn", word: words.warn, text, title: `no answer for ${lost[0].name}` };
  }
  const far = state.cluster?.peers.reduce((a, b) => (worse(reachLevel(b), reachLevel(a)) ? b : a));
  if (far && worse(reachLevel(far), top.said.level)) {
    const level = reachLevel(far);
    const text = `balancer ${far.name} ${far.reach === "left" ? "has left" : `is ${far.reach}`}: ${meaning(far)}; ${sum}`;
    return { level, word: words[level], text, title: `balancer ${far.reach}` };
  }
  if (top.said.level === "ok") return { level: "ok", word: "All is well", text: sum, title: "all is well" };
  const more = same.length > 1 ? `; so or alike in ${plural(same.length - 1, "more pool")}` : "";
  return {
    level: top.said.level, word: words[top.said.level], text: `pool ${top.pool.name}: ${top.said.text}${more}; ${sum}`,
    title: `${top.said.word}: ${top.pool.name}`,
  };
}

// differences are sentences for what changed between two states of backends, each
// a Map of key -> {pool, name, state, reason}.
export function differences(before, after) {
  const said = [];
  for (const [key, b] of after) {
    const was = before.get(key);
    if (was && was.state !== b.state) said.push(`${b.name} of pool ${b.pool} is ${b.state}, was ${was.state}${b.reason ? `: ${b.reason}` : ""}`);
  }
  return said;
}
