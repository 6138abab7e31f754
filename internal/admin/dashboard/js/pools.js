// The pools, each as its tiers, each as a table of its backends. Rows exist only
// while their pool is open, so that 400 relays cost nothing until looked at.

import { id, h, setAttr, setHidden, setText } from "./dom.js";
import { clock, count, duration, percent, plural } from "./format.js";
import { had, wantedOfBackends, wantedOfTier } from "./shares.js";
import { poolVerdict, worse } from "./verdict.js";
import { RelayRow, headings } from "./relay.js";

const openAtFirst = 4; // with more pools, only those that are not well

export class Pools {
  views = new Map();
  shape = -1;
  find = "";
  onlyBad = false;

  constructor(changed) {
    id("relay-filter").addEventListener("input", (e) => { this.find = e.target.value.trim().toLowerCase(); changed(); });
    id("only-bad").addEventListener("change", (e) => { this.onlyBad = e.target.checked; changed(); });
    this.changed = changed;
  }

  render(model) {
    const { pools } = model.state;
    if (this.shape !== model.shape) {
      this.reshape(pools);
      this.shape = model.shape;
    }
    const filtered = this.find !== "" || this.onlyBad;
    const fits = (pool, b) => (!this.onlyBad || b.state !== "up")
      && (this.find === "" || [b.name, b.address, b.site, pool.name].some((text) => text?.toLowerCase().includes(this.find)));
    let shown = 0;
    for (const pool of pools) {
      if (this.views.get(pool.name).update(model, pool, filtered ? (b) => fits(pool, b) : null)) shown++;
    }
    const none = pools.length === 0 ? "There is no pool: the configuration names none."
      : shown === 0 ? (this.onlyBad && this.find === "" ? "Every relay is up." : "No relay fits what is looked for.") : "";
    setText(id("no-pools"), none);
    setHidden(id("no-pools"), none === "");
  }

  // reshape makes the views anew, and keeps those open that were.
  reshape(pools) {
    const views = new Map();
    for (const pool of pools) {
      const was = this.views.get(pool.name);
      const open = was ? was.wasOpen() : pools.length <= openAtFirst || worse(poolVerdict(pool).level, "note");
      views.set(pool.name, new PoolView(pool, open, this.changed));
    }
    this.views = views;
    id("pool-list").replaceChildren(...[...views.values()].map((v) => v.element));
  }
}

class PoolView {
  constructor(pool, open, changed) {
    this.badge = h("span", { class: "badge" });
    this.text = h("span", { class: "about" });
    this.body = h("div", { class: "tiers" });
    this.element = h("details", { class: "card pool", "data-pool": pool.name, open },
      h("summary", {}, h("h3", {}, pool.name), this.badge, this.text), this.body);
    this.tiers = [];
    this.beforeFilter = null; // whether it was open, while a filter is set
    // Rows are made when it is opened; when it is closed they go.
    this.element.addEventListener("toggle", () => changed());
  }

  wasOpen() {
    return this.beforeFilter ?? this.element.open;
  }

  // update returns whether the pool is shown: fits, if any, says of a backend
  // whether it is.
  update(model, pool, fits) {
    const matches = !fits || pool.tiers.some((t) => t.backends.some(fits));
    if (fits && this.beforeFilter === null) {
      this.beforeFilter = this.element.open;
      this.element.open = true;
    } else if (!fits && this.beforeFilter !== null) {
      this.element.open = this.beforeFilter;
      this.beforeFilter = null;
    }
    setHidden(this.element, !matches);
    if (!matches) return false;
    const said = poolVerdict(pool);
    setText(this.badge, said.word);
    setAttr(this.badge, "data-level", said.level);
    const sums = had(model, pool);
    setText(this.text, about(pool, said, sums));
    if (!this.element.open) {
      if (this.tiers.length) {
        this.tiers = [];
        this.body.replaceChildren();
      }
      return true;
    }
    if (!this.tiers.length) {
      this.tiers = pool.tiers.map((tier) => new TierView(pool, tier));
      this.body.replaceChildren(...this.tiers.map((t) => t.element));
    }
    pool.tiers.forEach((tier, i) => this.tiers[i].update(model, pool, tier, i, sums, fits));
    return true;
  }
}

function about(pool, said, sums) {
  const sessions = pool.tiers.reduce((n, t) => n + t.backends.reduce((m, b) => m + b.sessions, 0), 0);
  const parts = [said.text, `${count(said.up)} of ${plural(said.all, "relay")} up`, plural(sessions, "session"), `${count(sums.all)} in 5 min`];
  return parts.filter(Boolean).join(" · ");
}

class TierView {
  constructor(pool, tier) {
    this.title = h("h4", {}, `Tier ${tier.tier}`);
    this.role = h("span", { class: "badge" });
    this.text = h("span", { class: "about" });
    this.rows = tier.backends.map((b) => new RelayRow(pool.name, b));
    this.element = h("section", { class: "tier", "aria-label": `Tier ${tier.tier} of pool ${pool.name}` },
      h("div", { class: "tierhead" }, this.title, this.role, this.text),
      h("table", { class: "relays" },
        h("thead", {}, h("tr", {}, ...headings.map(([text, cls]) => (text ? h("th", { scope: "col", class: cls }, text) : h("td", { class: cls }))))),
        h("tbody", {}, ...this.rows.map((r) => r.element))));
  }

  update(model, pool, tier, index, sums, fits) {
    const role = roleOf(tier, pool);
    setText(this.role, role.word);
    setAttr(this.role, "data-level", role.level);
    setText(this.text, tierText(model, pool, tier, sums.all, sums.tiers[index]));
    const wanted = wantedOfBackends(pool, tier);
    const full = fullBar(tier, sums, wanted);
    let shown = 0;
    tier.backends.forEach((b, i) => {
      const row = this.rows[i];
      const here = !fits || fits(b);
      setHidden(row.element, !here);
      if (!here) return;
      shown++;
      const history = model.history(pool.name, b.name);
      row.update(b, {
        history, full, wanted: wanted[i], all: sums.all, lately: sums.backends.get(b.name),
        failedLately: model.lately(history?.failures),
      });
    });
    setHidden(this.element, shown === 0);
  }
}

// fullBar is the share that fills a bar: of many relays each has so little that
// one could not see it miss its mark.
function fullBar(tier, sums, wanted) {
  if (tier.backends.length <= 8) return 1;
  const most = tier.backends.reduce((m, b, i) => Math.max(m, wanted[i] ?? 0, sums.all ? sums.backends.get(b.name) / sums.all : 0), 0);
  return most > 0 ? Math.min(1, most * 1.25) : 1;
}

function roleOf(tier, pool) {
  if (tier.active) return tier.usable ? { word: "in use", level: pool.failover ? "warn" : "ok" } : { word: "in use, too few up", level: "bad" };
  if (!tier.usable) return { word: "not usable", level: "warn" };
  return tier.warmed ? { word: "kept warm", level: "note" } : { word: "standby", level: "plain" };
}

function tierText(model, pool, tier, all, sum) {
  const parts = [`${tier.healthy} up, needs ${tier.min_healthy}`];
  const wanted = wantedOfTier(pool, tier);
  if (all > 0) parts.push(`${percent(sum / all)} of the last 5 min${wanted === null ? "" : `, wanted ${percent(wanted)}`}`);
  else if (wanted !== null) parts.push(`wanted ${percent(wanted)}`);
  if (tier.ramp < 1) parts.push(`takes over slowly: ${percent(tier.ramp)} of new sessions`);
  if (tier.usable && pool.failover && !tier.active && tier.usable_since) parts.push(`usable again since ${clock(new Date(tier.usable_since))}`);
  parts.push(tier.last_session ? (tier.idle_seconds < 60 ? "used within the last minute" : `last used ${duration(tier.idle_seconds)} ago`) : "not used yet");
  return parts.join(" · ");
}
