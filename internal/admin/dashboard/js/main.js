// The page: takes in what the stream tells, and shows it once a frame.

import { Model } from "./model.js";
import { watch } from "./stream.js";
import { forgetToken, hasToken } from "./api.js";
import { id, setHidden } from "./dom.js";
import { renderAway, renderLink, renderLive, renderSummary, speak } from "./summary.js";
import { Pools } from "./pools.js";
import { Cluster } from "./cluster.js";
import { Charts } from "./charts.js";
import { Sessions } from "./sessions.js";
import { Events } from "./events.js";
import { listenForReload, listenForVerbs } from "./verbs.js";

const model = new Model();
const pools = new Pools(schedule);
const cluster = new Cluster(schedule);
const charts = new Charts(schedule);
const sessions = new Sessions();
const events = new Events();
listenForVerbs(model);
listenForReload(events);

let lastAnswer = null;
let startedAt = "";
let live = false;
let due = false;
let painted = 0; // frames
const recent = []; // of the last seconds: [server's time, sessions established]

// schedule has the page painted with the next frame of the browser, however
// often it is called. A page that is hidden gets no frames.
function schedule() {
  if (due || !model.state) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    const began = performance.now();
    renderSummary(model, perSecond());
    pools.render(model);
    cluster.render(model);
    charts.render(model);
    document.documentElement.dataset.paint = (performance.now() - began).toFixed(1); // ms, for who measures
    document.documentElement.dataset.frame = ++painted; // for who waits
  });
}

function perSecond() {
  if (recent.length < 2) return 0;
  const [t0, n0] = recent[0];
  const [t1, n1] = recent.at(-1);
  return t1 > t0 ? Math.max(0, (n1 - n0) / ((t1 - t0) / 1000)) : 0;
}

function remember() {
  const total = model.state.pools.reduce((n, p) => n + p.tiers.reduce((m, t) => m + t.backends.reduce((k, b) => k + b.established, 0), 0), 0);
  if (recent.length && total < recent.at(-1)[1]) recent.length = 0;
  recent.push([model.now, total]);
  if (recent.length > 6) recent.shift();
}

function take(name, data) {
  model.take(name, data);
  lastAnswer = new Date();
  if (name !== "state" && name !== "change") return;
  if (!live) {
    live = true;
    const restarted = startedAt !== "" && startedAt !== model.state.started_at;
    startedAt = model.state.started_at;
    recent.length = 0;
    renderLive();
    sessions.setLive(true);
    events.setLive(true, restarted);
  }
  remember();
  if (speak(model)) events.ask();
  if (document.hidden) renderSummary(model, perSecond()); // the title is seen all the same
  schedule();
}

function away(error) {
  live = false;
  sessions.setLive(false);
  events.setLive(false);
  renderAway(error, lastAnswer);
}

document.addEventListener("visibilitychange", schedule);
const showToken = () => setHidden(id("token-button"), !hasToken());
id("token-button").textContent = "Forget the token";
id("token-button").addEventListener("click", () => { forgetToken(); location.reload(); });
document.addEventListener("tokenchange", showToken);
showToken();
renderLink("waiting", "connecting");
watch("api/v1/stream", { event: take, live() {}, away });
