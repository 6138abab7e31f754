// The part of a pool's sessions that each backend should have now, and the part
// that it had lately.

// wantedOfTier is the part of new sessions that a tier should have: null where
// that is not a part (kept warm by sessions an hour).
export function wantedOfTier(pool, tier) {
  const warmed = pool.tiers.some((t) => t.warmed && !t.active && t.healthy > 0);
  if (tier.active) return tier.healthy === 0 ? 0 : warmed ? 1 - pool.warm_share : 1;
  if (!tier.warmed || tier.healthy === 0) return 0;
  return pool.warm_share > 0 ? pool.warm_share : null;
}

const pull = (b) => (b.state === "up" ? b.weight * b.weight_part : 0);

// wantedOfBackends is the part of the pool's sessions for each backend of a tier.
export function wantedOfBackends(pool, tier) {
  const ofTier = wantedOfTier(pool, tier);
  const sum = tier.backends.reduce((n, b) => n + pull(b), 0);
  return tier.backends.map((b) => (ofTier === null ? null : sum > 0 ? (ofTier * pull(b)) / sum : 0));
}

// had is what a pool's tiers and backends had in the window: counts of sessions.
export function had(model, pool) {
  const backends = new Map();
  let all = 0;
  const tiers = pool.tiers.map((tier) => {
    let sum = 0;
    for (const b of tier.backends) {
      const n = model.lately(model.history(pool.name, b.name)?.established);
      backends.set(b.name, n);
      sum += n;
    }
    all += sum;
    return sum;
  });
  return { all, tiers, backends };
}
