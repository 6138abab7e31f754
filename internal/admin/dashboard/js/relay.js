// One backend: a row of its tier's table.

import { h, setAttr, setHidden, setText, setVar } from "./dom.js";
import { clock, count, milliseconds, percent } from "./format.js";
import { levelOf } from "./verdict.js";

const verbs = [
  ["enable", "Enable", (b) => b.state === "draining" || b.state === "disabled"],
  ["drain", "Drain", (b) => b.state !== "draining" && b.state !== "disabled"],
  ["disable", "Disable", (b) => b.state !== "disabled"],
];

export const headings = [
  ["Relay", "c-name"], ["State", "c-state"], ["Weight", "c-weight n"], ["Sessions", "c-sessions n"],
  ["Share, last 5 min", "c-share"], ["Greeting", "c-greeting n"], ["Failed", "c-failed n"], ["", "c-do"],
];

export class RelayRow {
  constructor(pool, backend) {
    this.name = backend.name;
    const two = (label, cls) => {
      const main = h("span", { class: "main" });
      const sub = h("span", { class: "sub" });
      return { main, sub, cell: h("td", { class: cls, "data-label": label }, main, sub) };
    };
    this.state = two("State", "c-state");
    this.weight = two("Weight", "c-weight n");
    this.sessions = two("Sessions", "c-sessions n");
    this.greeting = two("Greeting", "c-greeting n");
    this.failed = two("Failed", "c-failed n");
    this.place = h("span", { class: "sub" });
    this.bar = h("span", { class: "bar", "aria-hidden": "true" }, h("span", { class: "had" }), h("span", { class: "wanted" }));
    this.share = h("span", { class: "main" });
    this.wanted = h("span", { class: "sub" });
    this.badge = h("span", { class: "badge" });
    this.state.main.append(this.badge);
    this.buttons = verbs.map(([verb, label]) => h("button", {
      type: "button", "data-verb": verb, "data-pool": pool, "data-backend": backend.name, "aria-label": `${label} ${backend.name}`,
    }, label));
    this.element = h("tr", { "data-backend": backend.name },
      h("th", { scope: "row", class: "c-name" }, h("span", { class: "main" }, backend.name), this.place),
      this.state.cell, this.weight.cell, this.sessions.cell,
      h("td", { class: "c-share", "data-label": "Share, last 5 min" }, this.bar, this.share, this.wanted),
      this.greeting.cell, this.failed.cell,
      h("td", { class: "c-do" }, h("div", { class: "buttons" }, ...this.buttons)));
  }

  // update shows the backend; lately is what it had in the window of all that the
  // pool had, wanted the part that it should have (null: no part), full the part
  // that fills the bar.
  update(b, { lately, all, wanted, full, history, failedLately }) {
    setAttr(this.element, "data-state", b.state);
    setAttr(this.element, "data-level", levelOf(b));
    setText(this.place, [b.site, b.address].filter(Boolean).join(" · "));
    setText(this.badge, b.state);
    setAttr(this.badge, "data-level", levelOf(b));
    setText(this.state.sub, stateText(b));
    setText(this.weight.main, count(b.weight));
    setText(this.weight.sub, b.weight_part < 1 ? `${percent(b.weight_part)} of it: slow start` : "");
    setText(this.sessions.main, count(b.sessions));
    setText(this.sessions.sub, b.max_sessions ? `of ${count(b.max_sessions)} at most` : "");
    this.updateShare(lately, all, wanted, full);
    setText(this.greeting.main, b.greeting_habit_ms ? `p99 ${milliseconds(b.greeting_habit_ms)}` : "not known");
    setText(this.greeting.sub, history?.median ? median(history.median) : "");
    setText(this.failed.main, count(failedLately));
    setText(this.failed.sub, `${count(b.failures)} in all`);
    setAttr(this.failed.cell, "data-bad", failedLately > 0);
    verbs.forEach(([, , fits], i) => setHidden(this.buttons[i], !fits(b)));
  }

  updateShare(lately, all, wanted, full) {
    const part = all > 0 ? lately / all : 0;
    setVar(this.bar, "--had", `${((part / full) * 100).toFixed(1)}%`);
    setVar(this.bar, "--wanted", `${(((wanted ?? 0) / full) * 100).toFixed(1)}%`);
    setText(this.share, all > 0 ? `${percent(part)}` : "none yet");
    const of = all > 0 ? `${count(lately)} of ${count(all)}, ` : "";
    setText(this.wanted, of + (wanted === null ? "wanted: some an hour" : `wanted ${percent(wanted)}`));
  }
}

// median is looked up in buckets, the first of which reaches to 1 ms.
const median = (ms) => (ms < 1 ? "median < 1\u00a0ms" : `median ${milliseconds(ms)}`);

// stateText is since when and why.
function stateText(b) {
  const until = b.until ? `, until ${clock(new Date(b.until))}` : "";
  return `since ${clock(new Date(b.since))}${until}${b.reason ? `: ${b.reason}` : ""}`;
}
