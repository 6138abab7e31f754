// What the page knows: the state, and the history of the last quarter of an
// hour. No part of it touches the page.

export const windowSeconds = 300; // what "lately" is for shares
const steps = 180;
const stepSeconds = 5;

export const keyOf = (pool, backend) => `${pool}\u0000${backend}`;

export class Model {
  state = null; // as /api/v1/status has it
  now = 0; // by the server's clock, ms
  times = []; // when each step ended, ms
  pools = new Map(); // name -> {warm: [], backends: Map of name -> {established, failures, median}}
  shape = 0; // another one when pools or backends are others

  take(name, data) {
    switch (name) {
      case "history":
        this.times = [];
        this.pools.clear();
        this.addHistory(data);
        break;
      case "step":
        this.addHistory(data);
        break;
      case "state":
        this.state = data;
        this.shape++;
        break;
      case "change":
        this.change(data);
        break;
    }
    if (this.state) this.now = Date.parse(this.state.started_at) + this.state.uptime_seconds * 1000;
  }

  // change puts the backends that are others into the state; all else comes whole.
  change(data) {
    data.pools.forEach((pool, i) => {
      pool.tiers.forEach((tier, j) => {
        const before = this.state.pools[i].tiers[j].backends;
        if (tier.backends.length) {
          const others = new Map(tier.backends.map((b) => [b.name, b]));
          for (let k = 0; k < before.length; k++) before[k] = others.get(before[k].name) ?? before[k];
        }
        tier.backends = before;
      });
    });
    this.state = data;
  }

  addHistory(report) {
    append(this.times, report.times);
    for (const p of report.pools) {
      let pool = this.pools.get(p.name);
      if (!pool) this.pools.set(p.name, (pool = { warm: [], backends: new Map() }));
      append(pool.warm, p.warm);
      for (const b of p.backends) {
        let of = pool.backends.get(b.name);
        if (!of) pool.backends.set(b.name, (of = { established: [], failures: [], median: 0 }));
        append(of.established, b.established);
        append(of.failures, b.failures);
        of.median = b.greeting_median_ms || of.median;
      }
    }
  }

  // rates has a series of sums per second beside times: of the backends of a pool
  // ("": of all) that which(backend) wants. field is established or failures.
  rates(poolName, field, which = () => true) {
    const sums = new Array(this.times.length).fill(0);
    for (const pool of this.state.pools) {
      if (poolName && pool.name !== poolName) continue;
      for (const tier of pool.tiers) {
        for (const b of tier.backends) {
          if (!which(b)) continue;
          addTo(sums, this.pools.get(pool.name)?.backends.get(b.name)?.[field]);
        }
      }
    }
    return sums.map((n, i) => n / this.secondsOf(i));
  }

  // warmShares has, beside times, the part of the sessions of the window that
  // ended there which kept the standby warm; null where there were none.
  warmShares(poolName) {
    const warm = new Array(this.times.length).fill(0);
    const all = new Array(this.times.length).fill(0);
    for (const [name, pool] of this.pools) {
      if (poolName && name !== poolName) continue;
      addTo(warm, pool.warm);
      for (const b of pool.backends.values()) addTo(all, b.established);
    }
    let w = 0;
    let a = 0;
    let from = 0;
    return this.times.map((time, i) => {
      w += warm[i];
      a += all[i];
      for (; this.times[from] <= time - windowSeconds * 1000; from++) {
        w -= warm[from];
        a -= all[from];
      }
      return a > 0 ? w / a : null;
    });
  }

  secondsOf(i) {
    return i > 0 ? Math.max(1, (this.times[i] - this.times[i - 1]) / 1000) : stepSeconds;
  }

  // lately is the sum of a series over the window.
  lately(series) {
    if (!series) return 0;
    let sum = 0;
    const after = this.now - windowSeconds * 1000;
    for (let i = series.length - 1, t = this.times.length - 1; i >= 0 && this.times[t] > after; i--, t--) sum += series[i];
    return sum;
  }

  history(pool, backend) {
    return this.pools.get(pool)?.backends.get(backend);
  }
}

function append(series, more) {
  series.push(...more);
  if (series.length > steps) series.splice(0, series.length - steps);
}

// addTo sums a series into another, both ending at the same time.
function addTo(sums, series) {
  if (!series) return;
  const shift = sums.length - series.length;
  for (let i = Math.max(0, -shift); i < series.length; i++) sums[i + shift] += series[i];
}
