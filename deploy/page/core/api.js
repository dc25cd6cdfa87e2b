// Calls to the endpoint: the key of this tab, patience when it is busy, problems as errors with their detail.
import { element } from "./dom.js";

const PATIENCE = 6;
const RETRIED = [429, 502, 503, 504];

export class Problem extends Error {
  constructor(status, kind, detail) {
    super(detail);
    this.status = status;
    this.kind = kind;
  }
}

/** `options`: body, headers, signal. Answers the Response, or throws a Problem. */
export async function call(method, path, { body, headers = {}, signal } = {}) {
  for (let attempt = 0; ; attempt++) {
    const answer = await sent(method, path, body, headers, signal);
    if (answer.ok) return answer;
    if (answer.status === 401 && attempt < PATIENCE && await askForKey()) continue;
    if (RETRIED.includes(answer.status) && attempt < PATIENCE) {
      await pause(Number(answer.headers.get("Retry-After")) || 1, signal);
      continue;
    }
    const problem = await answer.json().catch(() => ({}));
    const kind = (problem.type || "").split(":").pop();
    throw new Problem(answer.status, kind, problem.detail || `The endpoint answered ${answer.status}.`);
  }
}

export const getJson = async (path, options) => (await call("GET", path, options)).json();

export async function sendJson(method, path, content, options = {}) {
  const headers = { "Content-Type": "application/json", ...options.headers };
  const answer = await call(method, path, { ...options, body: JSON.stringify(content), headers });
  return answer.status === 204 ? null : answer.json();
}

/** Headers that a request made elsewhere on the page needs. */
export function keyHeaders() {
  const key = sessionStorage.getItem("tlg-key");
  return key ? { "X-API-Key": key } : {};
}

async function sent(method, path, body, headers, signal) {
  try {
    return await fetch(path, { method, body, signal, headers: { ...keyHeaders(), ...headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "The endpoint cannot be reached. Is it still running?");
  }
}

function pause(seconds, signal) {
  return new Promise((done, failed) => {
    const timer = setTimeout(done, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      failed(new DOMException("cancelled", "AbortError"));
    }, { once: true });
  });
}

let asking = null;

/** Asks once, however many calls need the key; true where one was given. */
function askForKey() {
  asking ??= new Promise((done) => {
    const input = element("input", { type: "password", id: "key", autocomplete: "off", required: true });
    const dialog = element("dialog", { id: "key-dialog", class: "question", "aria-labelledby": "key-title" },
      element("form", { method: "dialog" },
        element("h2", { id: "key-title" }, "API key"),
        element("p", {}, "This endpoint answers only with a key. It stays in this tab."),
        element("label", { for: "key" }, "Key"), input,
        element("div", { class: "row end" }, element("button", { value: "use", class: "primary" }, "Use the key"))));
    document.body.append(dialog);
    dialog.addEventListener("close", () => {
      if (dialog.returnValue === "use") sessionStorage.setItem("tlg-key", input.value);
      dialog.remove();
      asking = null;
      done(dialog.returnValue === "use");
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}
