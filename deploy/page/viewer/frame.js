// The elements of the large view: a head, a place for the picture, and what stands beside it.
import { button, element } from "../core/dom.js";

const HOW = "With a brush in hand, arrow keys move its pointer and the space bar puts it down and lifts it. Question mark lists the keys.";

/** {element, title, place, canvas, notice}. */
export function framed({ go, close, sidebar }) {
  const title = element("h2", { id: "viewer-title", class: "grow" });
  const place = element("span", { class: "hint nowrap", "aria-live": "polite" });
  const canvas = element("canvas", { tabindex: 0, class: "stage", role: "application", "aria-describedby": "viewer-how" });
  const notice = element("p", { class: "notice", hidden: true });
  return { title, place, canvas, notice,
    element: element("section", { id: "viewer", role: "dialog", "aria-modal": "true", "aria-labelledby": "viewer-title", hidden: true },
      element("div", { class: "row head" }, button("← Previous", () => go(-1), { "aria-label": "Previous picture", id: "viewer-previous" }),
        button("Next →", () => go(1), { "aria-label": "Next picture", id: "viewer-next" }), title, place,
        button("Close", close, { class: "primary", id: "viewer-close" })),
      element("div", { class: "body" }, element("div", { class: "canvas-place" }, canvas, notice), sidebar),
      element("p", { id: "viewer-how", class: "sr-only" }, HOW)) };
}
