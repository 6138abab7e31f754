// The other balancers that limits are shared with, and the limits. Rows of limits
// exist only while they are looked at: each relay may have one.

import { id, h, setAttr, setHidden, setText } from "./dom.js";
import { count, duration, plural } from "./format.js";

const levels = { "in reach": "ok", "out of reach": "warn", left: "note" };
export const reachLevel = (peer) => levels[peer.reach] ?? "warn";

// meaning is what one asks of a peer that is not simply in reach.
export function meaning(peer) {
  if (peer.reach === "in reach") return "";
  if (peer.reach === "left") return "it has ended in order: its share of each limit waits for it";
  if (peer.alive_for_any) return "others hear it, this one does not: its share of each limit stays with it";
  return "its share of each limit stays with it";
}

export class Cluster {
  peers = new Rows("peer-table");
  limits = new Rows("limit-table");

  constructor(changed) {
    id("limits").addEventListener("toggle", () => changed());
  }

  render({ state: { cluster } }) {
    setHidden(id("cluster"), !cluster);
    if (!cluster) return;
    const near = cluster.peers.filter((p) => p.reach === "in reach").length;
    setText(id("cluster-said"), `${cluster.self} is one of ${plural(cluster.balancers, "balancer")}; ${count(near)} of ${plural(cluster.peers.length, "other")} in reach`);
    this.peers.show(cluster.peers, (p) => [p.name, p.reach, p.silent_seconds == null ? "never" : `${duration(p.silent_seconds)} ago`, meaning(p)], reachLevel);
    setHidden(id("limits"), cluster.limits.length === 0);
    setText(id("limits-said"), plural(cluster.limits.length, "limit"));
    const looked = id("limits").open ? cluster.limits : [];
    this.limits.show(looked, (l) => [l.name, ...[l.limit, l.share, l.lent, l.borrowed, l.old_processes, l.quota].map(count)]);
  }
}

// Rows are those of one table, the first cell of each a name. Names stay in their
// order, or the table is made anew.
class Rows {
  names = "";
  cells = [];

  constructor(table) {
    this.body = id(table).tBodies[0];
    this.columns = [...id(table).tHead.rows[0].cells].map((head) => ({ label: head.textContent, cls: head.className }));
  }

  // show has a row for each of all, with the texts of what it is; levelOf, if any, is
  // that of its second cell.
  show(all, textsOf, levelOf) {
    const names = JSON.stringify(all.map((one) => one.name));
    if (this.names !== names) {
      this.names = names;
      this.cells = all.map(() => this.columns.map(({ label, cls }, i) => (i === 0 ? h("th", { scope: "row", class: "mono" })
        : h("td", { class: cls, "data-label": label }, ...(i === 1 && levelOf ? [h("span", { class: "badge" })] : [])))));
      this.body.replaceChildren(...this.cells.map((cells) => h("tr", {}, ...cells)));
    }
    all.forEach((one, n) => {
      textsOf(one).forEach((text, i) => {
        const cell = this.cells[n][i];
        const badge = cell.firstElementChild;
        setText(badge ?? cell, text);
        if (badge) setAttr(badge, "data-level", levelOf(one));
      });
    });
  }
}
