// Asking the server. The token is asked for when the server wants one, sent as
// Authorization, and kept for as long as this tab is open.

import { askToken } from "./dialogs.js";

const key = "smtplb-token";
let token = "";
try {
  token = sessionStorage.getItem(key) || "";
} catch { /* then it is kept by this page alone */ }

export const hasToken = () => token !== "";

function keep(value) {
  token = value;
  try {
    if (value) sessionStorage.setItem(key, value);
    else sessionStorage.removeItem(key);
  } catch { /* see above */ }
  document.dispatchEvent(new Event("tokenchange"));
}

export const forgetToken = () => keep("");

// Refused is an answer that is an error, in the server's words.
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function refusal(response) {
  let text = `the server answers ${response.status} ${response.statusText}`;
  try {
    const problem = await response.json();
    if (problem.detail) text = problem.detail;
    if (problem.errors?.length) text += `: ${problem.errors.join("; ")}`;
    if (problem.near?.length) text += `; near: ${problem.near.join(", ")}`;
  } catch { /* not in our words: the number must do */ }
  return new Refused(response.status, text);
}

// request is fetch with the token. Where the server wants one, or another, a
// person is asked, and it is tried again with that; a person who has none gets
// what the server said.
export async function request(path, options = {}) {
  for (;;) {
    const sent = token;
    const headers = { ...options.headers };
    if (sent) headers.Authorization = `Bearer ${sent}`;
    const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
    if (response.ok) return response;
    const why = await refusal(response);
    if (response.status !== 401) throw why;
    if (sent !== token) continue; // another request has asked meanwhile
    const given = await askToken(sent ? why.message : "");
    if (!given) throw why;
    keep(given);
  }
}

export const getJSON = async (path, options) => (await request(path, options)).json();
export const postJSON = async (path) => (await request(path, { method: "POST" })).json();
