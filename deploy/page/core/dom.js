// Elements without strings of HTML: what is written by people or files can never become markup.

/**
 * `element("button", {class: "quiet", on: {click: run}, "aria-label": "Close"}, "text", child)`.
 * `on` are listeners, `data` is the dataset; booleans set or leave out an attribute.
 */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "on") for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    else if (key === "data") Object.assign(made.dataset, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const byId = (id) => document.getElementById(id);

export function button(text, run, properties = {}) {
  return element("button", { type: "button", ...properties, on: { click: run, ...properties.on } }, text);
}

/** A control with its label above it. */
export function field(label, control, hint) {
  const id = control.id || (control.id = `field-${++numbers}`);
  const note = hint && element("small", { id: `${id}-hint`, class: "hint" }, hint);
  if (note) control.setAttribute("aria-describedby", note.id);
  return element("div", { class: "field" }, element("label", { for: id }, label), control, note);
}
let numbers = 0;

/**
 * A control that cannot be used says why: it stays in the order of the tabulator, carries the reason as its title and
 * description, and tells it when it is pressed. `why` is empty where it can be used.
 */
export function setReason(control, why) {
  if (why) {
    control.setAttribute("aria-disabled", "true");
    control.title = why;
    control.setAttribute("aria-description", why);
  } else {
    control.removeAttribute("aria-disabled");
    control.removeAttribute("title");
    control.removeAttribute("aria-description");
  }
}
