// The one place for messages, at the lower edge of the window and always in view; and questions.
import { button, byId, element } from "./dom.js";

const SHOWN_MS = 8_000;
let hiding = null;

/** `kind` is "info", "good" or "bad"; an action is {label, run}. */
export function say(text, kind = "info", action = null) {
  const place = byId("message");
  place.dataset.kind = kind;
  byId("message-text").textContent = text;
  byId("message-action").replaceChildren(...(action ? [button(action.label, action.run)] : []));
  // What is urgent is read out at once, everything else when there is time.
  byId("live-alert").textContent = kind === "bad" ? text : "";
  byId("live-status").textContent = kind === "bad" ? "" : text;
  // Shown anew it lies above whatever was opened since.
  if (place.matches(":popover-open")) place.hidePopover();
  if (text) place.showPopover();
  clearTimeout(hiding);
  // What went wrong, and what offers something to do, stays until it is closed.
  if (text && kind !== "bad" && !action) hiding = setTimeout(() => place.matches(":popover-open") && place.hidePopover(), SHOWN_MS);
}

/** Puts away what was said, unless somebody has to do something about it: something else is looked at now. */
export function hush() {
  if (byId("message").dataset.kind !== "bad" && !byId("message-action").firstChild) say("");
}

export const tell = (error) => { if (error.name !== "AbortError") say(error.message, "bad"); };

export function startMessages() {
  byId("message-close").addEventListener("click", () => say(""));
  document.addEventListener("toggle", ({ target }) => { if (target.matches("dialog[open]")) hush(); }, true);
  // A control that cannot be used tells why.
  document.addEventListener("click", (event) => {
    const control = event.target.closest("[aria-disabled=true]");
    if (!control) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    say(control.getAttribute("aria-description") || "This cannot be used now.");
  }, true);
}

/** A question with two answers; true where the first is taken. */
export function ask({ title, text, yes, no = "Cancel" }) {
  const dialog = element("dialog", { class: "question", "aria-labelledby": "question-title" },
    element("form", { method: "dialog" },
      element("h2", { id: "question-title" }, title), element("p", {}, text),
      element("div", { class: "row end" },
        element("button", { value: "no", autofocus: true }, no),
        element("button", { value: "yes", class: "primary" }, yes))));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((answer) => dialog.addEventListener("close", () => {
    dialog.remove();
    answer(dialog.returnValue === "yes");
  }, { once: true }));
}

/** Asks for a text; null where nobody gave one. `check` says what is wrong with it. */
export function askText({ title, label, value = "", yes, check = () => "" }) {
  const input = element("input", { id: "asked-text", value, autocomplete: "off", maxlength: 100, required: true });
  const dialog = element("dialog", { class: "question", "aria-labelledby": "question-title" },
    element("form", { method: "dialog" },
      element("h2", { id: "question-title" }, title),
      element("label", { for: "asked-text" }, label), input,
      element("div", { class: "row end" },
        button("Cancel", () => dialog.close("")), element("button", { value: "yes", class: "primary" }, yes))));
  input.addEventListener("input", () => input.setCustomValidity(check(input.value.trim())));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((answer) => dialog.addEventListener("close", () => {
    dialog.remove();
    answer(dialog.returnValue === "yes" ? input.value.trim() : null);
  }, { once: true }));
}
