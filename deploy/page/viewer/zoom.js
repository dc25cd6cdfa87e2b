// Nearer, farther and the whole picture, for those without a wheel or two fingers.
import { button, element } from "../core/dom.js";

export const zoomButtons = (stage) => element("div", { class: "row tools zoom", role: "group", "aria-label": "Zoom" },
  button("−", () => stage().zoom(1 / 1.5), { "aria-label": "Zoom out", title: "Zoom out" }),
  button("+", () => stage().zoom(1.5), { "aria-label": "Zoom in", title: "Zoom in" }),
  button("Fit", () => stage().fit(), { title: "Show the whole picture" }));
