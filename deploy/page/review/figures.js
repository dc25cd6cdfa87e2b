// What the verdicts say about all answers, as a table.
import { getJson } from "../core/api.js";
import { button, byId, element } from "../core/dom.js";

const HEAD = ["Class", "Masks", "Judged", "Precision", "Missed"];
const interval = (one) => (one ? `${one.value.toFixed(2)} (${one.low.toFixed(2)} to ${one.high.toFixed(2)})` : "–");

export async function showFigures(base) {
  const { classes, all, lines, remarks } = await getJson(`${base}/figures`);
  const rows = [...Object.values(classes), ...(all ? [all] : [])].map((one) =>
    [one.name, one.masks, one.judged_masks + one.judged_absent, interval(one.precision), interval(one.missed)]);
  document.getElementById("told")?.close();
  const dialog = element("dialog", { id: "told", class: "wide", "aria-labelledby": "told-title" },
    element("div", { class: "row" }, element("h2", { id: "told-title", class: "grow" }, "What the review says of all answers"),
      button("Close", () => dialog.close(), { class: "primary", autofocus: true })),
    element("p", {}, lines[0]),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Figures" }, element("table", {},
      element("thead", {}, element("tr", {}, ...HEAD.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells.map((text) => element("td", {}, String(text)))))))),
    element("p", { class: "hint" }, element("b", {}, "Precision"), " is the share of masks that are right, ", element("b", {}, "missed"),
      " the share of pictures with the class in which it was answered absent; the intervals hold the truth in 95 of 100 cases."),
    ...remarks.map((text) => element("p", { class: "notice" }, text)));
  dialog.addEventListener("close", () => dialog.remove());
  byId("dialogs").append(dialog);
  dialog.showModal();
}
