// What happened lately, as the server remembers it, with reasons.

import { id, h, setHidden, setText } from "./dom.js";
import { getJSON } from "./api.js";
import { clock } from "./format.js";

const most = 100;
const interval = 5000; // ms between two questions, when no change says ask now

export class Events {
  after = 0; // the newest that is known
  live = false;
  asking = false;
  again = false;

  constructor() {
    setInterval(() => this.ask(), interval);
  }

  setLive(live, restarted) {
    this.live = live;
    if (restarted) {
      this.after = 0;
      id("event-list").replaceChildren();
    }
    this.ask();
  }

  async ask() {
    if (!this.live || document.hidden && this.after) return;
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    try {
      this.show((await getJSON(`api/v1/events?after=${this.after}`)).events);
    } catch (error) {
      if (this.live) setText(id("events-said"), error.status === 404 ? "This server does not tell of events." : `They cannot be had: ${error.message}.`);
      if (this.live) setHidden(id("events-said"), false);
    } finally {
      this.asking = false;
      if (this.again) {
        this.again = false;
        this.ask();
      }
    }
  }

  show(events) {
    const list = id("event-list");
    for (const e of events) {
      if (e.seq <= this.after) continue;
      this.after = e.seq;
      list.prepend(line(e));
    }
    while (list.childElementCount > most) list.lastElementChild.remove();
    setText(id("events-said"), "Nothing yet: no relay has changed its state, and nobody has changed anything.");
    setHidden(id("events-said"), list.childElementCount > 0);
  }
}

// badge is the step in two words. Of relays the new state says enough.
function badge(e) {
  if (e.kind === "tier") return `to tier ${e.to}`;
  if (e.kind === "backend" || e.kind === "verb") return e.to;
  return e.to ? `${e.kind}: ${e.to}` : e.kind;
}

const levels = { up: "ok", down: "warn", ejected: "warn", busy: "warn", draining: "note", disabled: "note", refused: "bad", failed: "warn", failing: "warn" };

function line(e) {
  const when = new Date(e.time);
  const step = h("span", { class: "badge", "data-level": e.kind === "tier" ? "warn" : levels[e.to] ?? "plain" }, badge(e));
  return h("li", { "data-kind": e.kind, "data-seq": e.seq }, h("time", { datetime: e.time, class: "mono" }, clock(when)), step,
    h("span", { class: "what" }, e.text || e.reason));
}
