// What a person is asked: whether to do it, and for the token.

import { id } from "./dom.js";

// confirm asks, and does it when told to. What goes wrong is said in the dialog,
// which stays open then. It is true when it was done.
export function confirm({ title, text, yes, danger, act }) {
  const dialog = id("confirm");
  if (dialog.open) return Promise.resolve(false);
  const error = id("confirm-error");
  const button = id("confirm-yes");
  id("confirm-title").textContent = title;
  id("confirm-text").textContent = text;
  button.textContent = yes;
  button.classList.toggle("danger", Boolean(danger));
  error.hidden = true;
  return new Promise((resolve) => {
    let done = false;
    const submit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        await act();
        done = true;
        dialog.close();
      } catch (e) {
        error.textContent = `Not done: ${e.message}`;
        error.hidden = false;
      } finally {
        button.disabled = false;
      }
    };
    const cancel = () => dialog.close();
    dialog.addEventListener("submit", submit);
    id("confirm-no").addEventListener("click", cancel);
    dialog.addEventListener("close", () => {
      dialog.removeEventListener("submit", submit);
      id("confirm-no").removeEventListener("click", cancel);
      resolve(done);
    }, { once: true });
    dialog.showModal();
    id("confirm-no").focus(); // Enter alone changes nothing
  });
}

let asking = null; // the question that is open: who needs a token meanwhile waits for it, too

// askToken resolves to what a person gave, "" if nothing. complaint is what was
// wrong with the one before.
export function askToken(complaint) {
  if (!asking) asking = openToken(complaint).finally(() => { asking = null; });
  return asking;
}

function openToken(complaint) {
  const dialog = id("token");
  const input = id("token-input");
  const error = id("token-error");
  id("token-text").textContent = "The server wants it for this: it is what the file has that admin.token_file names. It is kept until this tab is closed.";
  error.textContent = complaint ? `That was refused: ${complaint}.` : "";
  error.hidden = !complaint;
  input.value = "";
  return new Promise((resolve) => {
    let given = "";
    const submit = () => { given = input.value.trim(); };
    const cancel = () => dialog.close();
    dialog.addEventListener("submit", submit);
    id("token-no").addEventListener("click", cancel);
    dialog.addEventListener("close", () => {
      dialog.removeEventListener("submit", submit);
      id("token-no").removeEventListener("click", cancel);
      input.value = "";
      resolve(given);
    }, { once: true });
    dialog.showModal();
    input.focus();
  });
}
