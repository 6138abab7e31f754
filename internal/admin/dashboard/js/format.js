// Numbers, times and durations, for people.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const count = (n) => whole.format(n);

export function percent(part) {
  const p = part * 100;
  return `${p === 0 || p >= 99.95 ? p.toFixed(0) : p.toFixed(1)}\u00a0%`;
}

export function rate(perSecond) {
  if (perSecond === 0) return "0/s";
  if (perSecond < 0.1) return `${(perSecond * 60).toFixed(1)}/min`;
  return `${perSecond < 100 ? perSecond.toFixed(1) : whole.format(perSecond)}/s`;
}

export function milliseconds(ms) {
  if (ms < 10) return `${ms.toFixed(1)}\u00a0ms`;
  return ms < 10000 ? `${whole.format(ms)}\u00a0ms` : `${(ms / 1000).toFixed(0)} s`;
}

// duration is of two units at most: "42 s", "3 min 5 s", "2 h 10 min", "12 d 3 h".
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  const two = (big, bigUnit, small, smallUnit) => (small ? `${big} ${bigUnit} ${small} ${smallUnit}` : `${big} ${bigUnit}`);
  if (s < 3600) return two(Math.floor(s / 60), "min", s < 600 ? s % 60 : 0, "s");
  if (s < 86400) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return two(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}

export function bytes(n) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  for (; n >= 1000 && unit < units.length - 1; unit++) n /= 1000;
  return `${unit === 0 || n >= 100 ? n.toFixed(0) : n.toFixed(1)} ${units[unit]}`;
}

const twoDigits = (n) => String(n).padStart(2, "0");

// clock is the time of day here, with the day where it is another than today.
export function clock(date) {
  const time = `${twoDigits(date.getHours())}:${twoDigits(date.getMinutes())}:${twoDigits(date.getSeconds())}`;
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.getFullYear()}-${twoDigits(date.getMonth() + 1)}-${twoDigits(date.getDate())} ${time}`;
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
