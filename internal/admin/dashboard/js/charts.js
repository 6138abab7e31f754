// The two charts: sessions per second, by tier, and the warm share.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { id, h, setAttr, setText } from "./dom.js";
import { percent, rate } from "./format.js";

const seconds = 900;
const height = 190;

// Colours and dashes by series: one who cannot tell the colours has the dashes.
const looks = [
  { color: "--chart-1", dash: [] }, { color: "--chart-2", dash: [7, 3] }, { color: "--chart-3", dash: [2, 3] }, { color: "--chart-4", dash: [9, 3, 2, 3] },
];
const bad = { color: "--chart-bad", dash: [3, 2] };
const wantedLook = { color: "--chart-4", dash: [6, 4] };

export class Charts {
  constructor(changed) {
    this.rates = new Chart(id("rate-chart"), rate, [0, 1]);
    this.warm = new Chart(id("warm-chart"), percent, [0, 0.1]);
    this.pool = "";
    this.options = "";
    this.stamp = "";
    id("chart-pool").addEventListener("change", (e) => { this.pool = e.target.value; this.stamp = ""; changed(); });
    document.addEventListener("themechange", () => { this.rates.forget(); this.warm.forget(); this.stamp = ""; changed(); });
  }

  // render draws when there is another step; in between only the time moves on.
  render(model) {
    this.offer(model.state.pools);
    const stamp = `${model.shape} ${model.times.at(-1)} ${model.times.length}`;
    if (stamp !== this.stamp) {
      this.stamp = stamp;
      this.renderRates(model);
      this.renderWarm(model);
    }
    this.rates.until(model.now);
    this.warm.until(model.now);
  }

  // offer fills the choice of pools, when they are others. The first pool that
  // keeps a standby warm is the one that shows most.
  offer(pools) {
    const options = JSON.stringify(pools.map((p) => p.name));
    if (options === this.options) return;
    this.options = options;
    const names = pools.map((p) => p.name);
    if (!names.includes(this.pool)) this.pool = pools.length > 1 ? "" : names[0] ?? "";
    id("chart-pool").replaceChildren(
      ...(pools.length === 1 ? [] : [h("option", { value: "" }, "all pools")]),
      ...names.map((name) => h("option", { value: name, selected: name === this.pool }, name)));
    id("chart-pool").value = this.pool;
  }

  renderRates(model) {
    const pool = model.state.pools.find((p) => p.name === this.pool);
    const series = [];
    if (pool && pool.tiers.length > 1) {
      pool.tiers.slice(0, looks.length).forEach((tier, i) => series.push({
        label: `tier ${tier.tier}`, look: looks[i], values: model.rates(this.pool, "established", (b) => b.tier === tier.tier),
      }));
    } else series.push({ label: "established", look: looks[0], values: model.rates(this.pool, "established") });
    series.push({ label: "failed attempts", look: bad, values: model.rates(this.pool, "failures") });
    this.rates.draw(model.times, series);
    const all = model.rates(this.pool, "established");
    const now = all.length ? rate(all.at(-1)) : "no step yet";
    setText(id("rate-now"), now);
    setAttr(id("rate-chart"), "aria-label", `Sessions per second of ${this.pool || "all pools"}: now ${now}, at most ${rate(Math.max(0, ...all))} in the last 15 minutes`);
  }

  renderWarm(model) {
    const shares = model.warmShares(this.pool);
    const pool = model.state.pools.find((p) => p.name === this.pool);
    const series = [{ label: "kept warm", look: looks[0], values: shares }];
    if (pool) series.push({ label: "wanted", look: wantedLook, values: model.times.map(() => pool.warm_share) });
    this.warm.draw(model.times, series);
    const now = shares.at(-1) == null ? "no sessions" : percent(shares.at(-1));
    const wanted = pool ? `, wanted ${percent(pool.warm_share)}` : "";
    setText(id("warm-now"), now + wanted);
    setAttr(id("warm-chart"), "aria-label", `Warm share of ${this.pool || "all pools"} in the last 5 minutes: ${now}${wanted}`);
  }
}

// Chart is a uPlot that is made anew when its series are others, and is as wide
// as its place.
class Chart {
  constructor(place, format, least) {
    Object.assign(this, { place, format, least, plot: null, labels: "", end: 0 });
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(place);
  }

  size() {
    return { width: Math.max(200, this.place.clientWidth), height };
  }

  forget() {
    this.plot?.destroy();
    this.plot = null;
  }

  draw(times, series) {
    const labels = series.map((s) => s.label).join();
    if (labels !== this.labels) this.forget();
    this.labels = labels;
    const data = [times.map((t) => t / 1000), ...series.map((s) => s.values)];
    if (this.plot) this.plot.setData(data, false);
    else this.plot = new uPlot(this.configuration(series), data, this.place);
  }

  // until moves the window to end at a time.
  until(ms) {
    const max = Math.round(ms / 1000);
    if (!this.plot || !max) return;
    this.plot.batch(() => {
      this.plot.setScale("x", { min: max - seconds, max });
    });
  }

  configuration(series) {
    const color = (name) => resolve(this.place, name);
    const axis = { stroke: color("--faint"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1, size: 4 }, font: "12px system-ui, sans-serif" };
    return {
      ...this.size(),
      cursor: { y: false, drag: { x: false, y: false } },
      legend: { live: true },
      scales: { x: { time: true }, y: { range: (_, __, max) => [0, Math.max(this.least[1], (max ?? 0) * 1.1)] } },
      axes: [
        { ...axis, values: (_, splits) => splits.map(minute), space: 70 },
        { ...axis, size: 64, values: (_, splits) => splits.map((v) => this.format(v)) },
      ],
      series: [
        { label: "time", value: (_, v) => (v == null ? "" : minute(v, true)) },
        ...series.map((s) => ({
          label: s.label, stroke: color(s.look.color), dash: s.look.dash, width: 2, points: { show: false }, spanGaps: false,
          value: (_, v) => (v == null ? "-" : this.format(v)),
        })),
      ],
    };
  }
}

function minute(s, withSeconds) {
  const text = new Date(s * 1000).toTimeString();
  return withSeconds === true ? text.slice(0, 8) : text.slice(0, 5);
}

// resolve is the colour that a custom property means in this theme.
function resolve(place, name) {
  const probe = h("span");
  probe.style.color = `var(${name})`;
  place.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}
