// Keyboard shortcuts: the list that `?` shows is the list that works. One letter each, so they can be switched off.
import { button, element } from "./dom.js";
import { readSetting, writeSetting } from "./memory.js";

/** [{title, isActive, keys: [{key, does, run}]}]; the last active group that knows a key takes it. One without `run` is listed alone. */
const groups = [];

export function addShortcuts(title, isActive, keys) { groups.push({ title, isActive, keys }); }

const areOn = () => readSetting("shortcuts", true);
const isTyping = (target) => target.closest("input:not([type=checkbox], [type=range], [type=radio], [type=file]), textarea, select");

export function startShortcuts() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
    if (event.target.matches("[type=range]") && event.key.startsWith("Arrow")) return;
    if (event.key === "?") { event.preventDefault(); showShortcuts(); return; }
    if (!areOn() || document.querySelector("dialog.question[open]")) return;
    for (const { isActive, keys } of [...groups].reverse()) {
      if (!isActive()) continue;
      const known = keys.find(({ key, run }) => run && key.split(" ").includes(event.key === " " ? "Space" : event.key));
      if (known && !(isControl(event.target) && ["Enter", "Space"].includes(known.key))) {
        event.preventDefault();
        known.run(event);
        return;
      }
    }
  });
}

const isControl = (target) => target.closest("button, a, summary, input");

const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };

export function showShortcuts() {
  if (document.getElementById("shortcuts")) return;
  const on = element("input", { type: "checkbox", id: "shortcuts-on", checked: areOn(),
    on: { change: () => writeSetting("shortcuts", on.checked) } });
  const dialog = element("dialog", { id: "shortcuts", class: "question wide", "aria-labelledby": "shortcuts-title" },
    element("div", { class: "row" }, element("h2", { id: "shortcuts-title", class: "grow" }, "Keyboard shortcuts"),
      button("Close", () => dialog.close(), { class: "primary", autofocus: true })),
    element("label", { class: "check", for: "shortcuts-on" }, on, "One-key shortcuts are on"),
    // What works here comes first.
    ...[...groups].sort((a, b) => b.isActive() - a.isActive()).map(({ title, keys }) => element("section", {}, element("h3", {}, title),
      element("dl", { class: "keys" }, ...keys.map(({ key, does }) => element("div", {},
        element("dt", {}, ...key.split(" ").map((name) => element("kbd", {}, NAMES[name] || name))),
        element("dd", {}, does)))))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
