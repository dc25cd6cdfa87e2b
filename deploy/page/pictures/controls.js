// What is shown of the pictures, and in which order: sorting, filters, classes whose masks are hidden.
import { button, byId, element } from "../core/dom.js";
import { counted } from "../core/words.js";
import { SORTS, STATES } from "./collection.js";

/** Fills the controls of the page; answers a function that renews what they say. `shown()` is what the list shows. */
export function startControls(collection, { looks, colourOf, shown, states = Object.keys(STATES) }) {
  const named = Object.fromEntries(states.map((state) => [state, STATES[state]]));
  for (const [id, options, key] of [["sort", SORTS, "sort"], ["filter-state", named, "state"], ["filter-class", null, "className"]]) {
    const select = byId(id);
    if (options) select.append(...Object.entries(options).map(([value, text]) => new Option(text, value)));
    select.addEventListener("change", () => { collection[key] = select.value; collection.changed(); });
  }

  function fillFilter(names) {
    const select = byId("filter-class"), known = [...select.options].slice(1).map((option) => option.value);
    if (select.options.length && JSON.stringify(known) === JSON.stringify(names)) return;
    select.replaceChildren(new Option("All classes", ""), ...names.map((name) => new Option(name, name)));
    if (!names.includes(collection.className)) collection.className = "";
    select.value = collection.className;
  }

  function fillToggles(classes) {
    const place = byId("class-toggles");
    const look = JSON.stringify(classes.map(({ name, number }) => [name, colourOf(name, number), looks.hidden.has(name)]));
    if (place.dataset.look === look) return;
    place.dataset.look = look;
    const focused = document.activeElement?.dataset?.toggles;
    place.replaceChildren(...classes.map(({ name, number }) => {
      const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.background = colourOf(name, number);
      return button([swatch, name], () => looks.toggle(name), {
        class: "toggle", "aria-pressed": String(!looks.hidden.has(name)), data: { toggles: name }, title: "Show or hide its masks" });
    }));
    if (focused) [...place.children].find((one) => one.dataset.toggles === focused)?.focus();
  }

  return () => {
    const all = counted(collection.pictures.length, "picture"), some = shown().length;
    byId("shown").textContent = some === collection.pictures.length ? all : `${some} of ${all} shown`;
    const { classes } = collection;
    fillFilter(classes.map(({ name }) => name));
    fillToggles(classes);
  };
}
