// The sessions that run, looked for on the server, which may have ten thousand.

import { id, h, setAttr, setHidden, setText } from "./dom.js";
import { getJSON } from "./api.js";
import { bytes, count, duration, plural } from "./format.js";

const most = 100;
const interval = 2000; // ms between two questions, while it is on the screen

export class Sessions {
  rows = new Map(); // id -> row
  visible = false;
  live = false;
  asking = null; // what stops the question under way

  constructor() {
    id("session-search").addEventListener("input", () => this.ask());
    new IntersectionObserver((entries) => {
      this.visible = entries.at(-1).isIntersecting;
      if (this.visible) this.ask();
    }).observe(id("session-search").closest("section"));
    setInterval(() => {
      if (this.visible && this.live && !document.hidden && !this.asking) this.ask();
    }, interval);
  }

  setLive(live) {
    this.live = live;
    if (live && this.visible) this.ask();
  }

  // ask begins a question; one that is under way is not waited for any more.
  async ask() {
    if (!this.live) return;
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    const search = id("session-search").value.trim();
    try {
      const query = new URLSearchParams({ limit: most });
      if (search) query.set("search", search);
      this.show(await getJSON(`api/v1/sessions?${query}`, { signal: asking.signal }), search);
    } catch (error) {
      if (this.asking === asking && this.live) this.fail(error);
    } finally {
      if (this.asking === asking) this.asking = null;
    }
  }

  fail(error) {
    setText(id("sessions-said"), error.status === 404 ? "This server does not list its sessions." : `They cannot be listed: ${error.message}.`);
    setHidden(id("session-scroll"), true);
  }

  show({ open, matched, sessions }, search) {
    setText(id("sessions-said"), said(open, matched, sessions.length, search));
    setHidden(id("session-scroll"), sessions.length === 0);
    const rows = new Map();
    for (const s of sessions) {
      const row = this.rows.get(s.id) ?? new SessionRow(s);
      row.update(s);
      rows.set(s.id, row);
    }
    this.place(rows);
    this.rows = rows;
  }

  // place puts the rows in their order, and moves only those that are elsewhere.
  place(rows) {
    const body = id("session-table").tBodies[0];
    for (const [key, row] of this.rows) if (!rows.has(key)) row.element.remove();
    let at = body.firstElementChild;
    for (const row of rows.values()) {
      if (row.element === at) at = at.nextElementSibling;
      else body.insertBefore(row.element, at);
    }
  }
}

function said(open, matched, shown, search) {
  if (open === 0) return "None runs now.";
  if (search && matched === 0) return `None of the ${plural(open, "running session")} has “${search}” in its id, client, listener, pool or relay.`;
  const of = search ? `${count(matched)} of ${plural(open, "running session")} fit` : `${plural(open, "session")}`;
  return shown < matched ? `${of}; ${count(shown)} are shown, search to see others` : of;
}

class SessionRow {
  constructor(s) {
    const cell = (label, cls) => h("td", { class: cls, "data-label": label });
    this.client = cell("Client", "");
    this.pool = cell("Pool", "");
    this.relay = cell("Relay", "");
    this.state = cell("State", "");
    this.age = cell("For", "n");
    this.idle = cell("Quiet for", "n");
    this.up = cell("Up", "n");
    this.down = cell("Down", "n");
    this.element = h("tr", { "data-session": s.id }, h("th", { scope: "row", class: "mono", title: `on listener ${s.listener}` }, s.id),
      this.client, this.pool, this.relay, this.state, this.age, this.idle, this.up, this.down);
  }

  update(s) {
    setText(this.client, s.client);
    setText(this.pool, s.pool || "-");
    setText(this.relay, s.backend ? `${s.backend}${s.site ? ` (${s.site})` : ""}${s.warm ? ", keeps warm" : ""}` : "none yet");
    setText(this.state, [s.state, s.turn ? `${s.turn}'s turn` : ""].filter(Boolean).join(", "));
    setText(this.age, duration(s.duration_seconds));
    setAttr(this.age, "title", `since ${s.started_at}`);
    setText(this.idle, duration(s.idle_seconds));
    setText(this.up, bytes(s.bytes_up));
    setText(this.down, bytes(s.bytes_down));
  }
}
