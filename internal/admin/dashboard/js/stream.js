// The stream of server-sent events, read with fetch: EventSource could not send
// the token. It begins again by itself, however it ends.

import { request, Refused } from "./api.js";

const silence = 6000; // ms without a frame, of which one is due each second
const firstPause = 500; // ms before the next attempt; each one after waits longer
const longestPause = 5000;

// watch calls on.event(name, data) for each event, on.live() when they begin to
// come, and on.away(why) for each attempt that ended or failed. why.status is
// the HTTP status, where there was an answer.
export async function watch(path, on) {
  for (let pause = firstPause; ; pause = Math.min(pause * 1.6, longestPause)) {
    try {
      await once(path, on, () => { pause = firstPause; });
      on.away(new Error("the server has ended the stream"));
    } catch (error) {
      on.away(error);
      if (error instanceof Refused && error.status === 401) await tokenGiven();
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

// tokenGiven waits until there is another token: without it, asking again would
// open the dialog again.
const tokenGiven = () => new Promise((resolve) => document.addEventListener("tokenchange", resolve, { once: true }));

async function once(path, on, began) {
  const abort = new AbortController();
  let watchdog;
  const alive = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => abort.abort(new Error("nothing more came")), silence);
  };
  try {
    alive();
    const response = await request(path, { signal: abort.signal });
    on.live();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parse = parser(on.event);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      began();
      parse(value);
    }
  } finally {
    clearTimeout(watchdog);
    abort.abort(); // whatever went wrong, the connection is given back
  }
}

// parser takes text in any pieces, and hands out whole events (HTML, 9.2.6, as
// much of it as our server sends).
export function parser(emit) {
  let rest = "";
  return (text) => {
    const events = (rest + text).split("\n\n");
    rest = events.pop();
    for (const lines of events) {
      let name = "message";
      let data = "";
      for (const line of lines.split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data += line.slice(6);
      }
      if (data) emit(name, JSON.parse(data));
    }
  };
}
