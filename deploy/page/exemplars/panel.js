// The panel of exemplars: classes, their pictures, pictures that show none of them, and the stored sets.
import { colourNames, colourUnlike, nextColour } from "../core/colours.js";
import { button, byId, element, setReason } from "../core/dom.js";
import { ask, say, tell } from "../core/messages.js";
import { counted } from "../core/words.js";
import { thumbnail } from "../viewer/decoding.js";
import { checkExemplars } from "./check.js";
import { openDrawer } from "./drawer.js";
import { drawnCount } from "./set.js";
import { save, saveUnderNewName, showSets } from "./stored.js";
import { blobOf } from "./upload.js";

const urls = new Map();  // exemplar id -> address of its thumbnail

/** `model()` is what the check asks; `acceptFiles(list)` turns chosen files into sources. */
export function startPanel(set, { model, toSources }) {
  const list = byId("classes"), negatives = byId("negatives");
  const groups = new Map();  // class id -> its element
  const accept = (one, files) => toSources(files).then((sources) => sources.forEach((source) => set.add(one, source))).catch(tell);

  function refresh() {
    for (const [id, group] of groups) if (!set.classes.some((one) => one.id === id)) { group.remove(); groups.delete(id); }
    for (const one of set.classes) {
      if (!groups.has(one.id)) groups.set(one.id, classGroup(one));
      const group = groups.get(one.id);
      list.append(...(group.isConnected ? [] : [group]));
      fillClass(group, one);
    }
    fillThumbs(negatives.querySelector(".thumbs"), set.negatives, null);
    byId("negatives-count").textContent = set.negatives.length ? ` (${set.negatives.length})` : "";
    byId("set-title").textContent = set.name ? `${set.name}${set.isChanged ? ", changed" : ""}` : "not saved";
    setReason(byId("save-set"), set.missing || (set.name && !set.isChanged ? `${set.name} holds these exemplars already.` : ""));
    setReason(byId("save-set-as"), set.missing);
    const alone = set.classes.every((one) => one.exemplars.length < 2);
    setReason(byId("check-set"), set.missing || (alone ? "The check compares the exemplars of a class: add a second one." : ""));
    setReason(byId("new-set"), set.everything().length || set.name ? "" : "These exemplars are empty already.");
    const known = new Set(set.everything().map(({ id }) => id));
    for (const [id, url] of urls) if (!known.has(id)) { URL.revokeObjectURL(url); urls.delete(id); }
  }

  function classGroup(one) {
    const name = element("input", { class: "class-name", placeholder: "Name, like red fox", maxlength: 200, autocomplete: "off",
      id: `class-${one.id}`, on: { input: () => { one.name = name.value; set.changed(); } } });
    const swatch = button("", () => { one.colour = nextColour(one.colour); set.dispatchEvent(new Event("change")); }, { class: "swatch" });
    return element("fieldset", { class: "class" }, element("legend", { class: "sr-only" }, "Class"),
      element("div", { class: "row" }, swatch,
        element("label", { class: "sr-only", for: name.id }, "Class name"), element("div", { class: "grow" }, name),
        button("✕", () => removeClass(one), { class: "quiet remove-class", "aria-label": "Remove this class", title: "Remove this class" })),
      element("ul", { class: "thumbs", "aria-label": "Exemplars" }), dropZone("Drop exemplars here", (files) => accept(one, files), one));
  }

  async function removeClass(one) {
    if (one.exemplars.length && !await ask({ title: `Remove ${one.name || "this class"}?`,
      text: `Its ${counted(one.exemplars.length, "exemplar")} leave this page. Stored sets stay as they are.`, yes: "Remove" })) return;
    set.removeClass(one);
    byId("add-class").focus();
  }

  function fillClass(group, one) {
    const name = group.querySelector(".class-name"), swatch = group.querySelector(".swatch");
    if (document.activeElement !== name) name.value = one.name;
    swatch.style.background = one.colour;
    swatch.setAttribute("aria-label", `Colour of ${one.name || "this class"}: ${colourNames.get(one.colour)}. Press for another.`);
    swatch.title = `${colourNames.get(one.colour)}: press for another colour`;
    fillThumbs(group.querySelector(".thumbs"), one.exemplars, one);
  }

  function fillThumbs(place, exemplars, one) {
    const before = new Map([...place.children].map((item) => [Number(item.dataset.id), item]));
    const items = exemplars.map((exemplar) => {
      const item = before.get(exemplar.id) || thumb(exemplar, one);
      fillThumb(item, exemplar, one);
      return item;
    });
    if (items.length !== place.children.length || items.some((item, i) => place.children[i] !== item)) place.replaceChildren(...items);
  }

  function thumb(exemplar, one) {
    const image = element("img", { alt: exemplar.source.name });
    showThumb(image, exemplar, one);
    const open = one
      ? button("", () => openDrawer(exemplar, one.name, one.colour, () => set.changed()).catch(tell), { class: "open" })
      : element("span", { class: "open" });
    open.append(image, element("span", { class: "badge", hidden: true }));
    return element("li", { data: { id: exemplar.id } }, open,
      button("✕", () => set.remove(exemplar), { class: "remove", "aria-label": `Remove ${exemplar.source.name}` }),
      element("p", { class: "warning", hidden: true }));
  }

  function fillThumb(item, exemplar, one) {
    const drawn = drawnCount(exemplar.drawing), badge = item.querySelector(".badge"), warning = item.querySelector(".warning");
    const what = [exemplar.mask && "mask", drawn && `${drawn} drawn`].filter(Boolean).join(", ");
    badge.hidden = !what;
    badge.textContent = what;
    if (one) item.querySelector(".open").setAttribute("aria-label", `${exemplar.source.name}: ${what || "nothing drawn"}. Say where ${one.name || "it"} is.`);
    warning.hidden = !exemplar.warning;
    warning.textContent = exemplar.warning ? `Look: ${exemplar.warning}` : "";
    item.classList.toggle("doubtful", Boolean(exemplar.warning));
  }

  async function showThumb(image, exemplar, one) {
    try {
      if (!urls.has(exemplar.id)) {
        const { blob, colour } = await thumbnail(await blobOf(exemplar.source), 160);
        urls.set(exemplar.id, URL.createObjectURL(blob));
        if (one && one.exemplars[0] === exemplar && !set.name) {
          one.colour = colourUnlike(colour, set.classes.filter((other) => other !== one).map((other) => other.colour));
          set.dispatchEvent(new Event("change"));
        }
      }
      image.src = urls.get(exemplar.id);
    } catch { image.replaceWith(element("span", { class: "unseen" }, exemplar.source.name)); }
  }

  byId("add-class").addEventListener("click", () => {
    const one = set.addClass();
    groups.get(one.id).querySelector(".class-name").focus();
  });
  byId("new-set").addEventListener("click", async () => {
    if (!set.isChanged || await ask({ title: "Start anew?", text: "These exemplars are not saved as a set; they leave this page.", yes: "Start anew" })) set.clear();
  });
  byId("open-set").addEventListener("click", () => showSets(set).catch(tell));
  byId("save-set").addEventListener("click", () => save(set).catch(tell));
  byId("save-set-as").addEventListener("click", () => saveUnderNewName(set).catch(tell));
  byId("check-set").addEventListener("click", async () => {
    say("Each exemplar is compared with the others of its class…");
    try {
      const doubtful = await checkExemplars(set, model());
      if (doubtful === null) say("The exemplars changed while they were checked; check them again.");
      else say(doubtful ? `${counted(doubtful, "exemplar is", "exemplars are")} worth a look: it says so beside them.` : "The check found nothing to look at.", doubtful ? "info" : "good");
    } catch (error) { tell(error); }
  });
  negatives.append(dropZone("Drop pictures with none of the classes", (files) => accept(null, files), "negatives"));
  set.addEventListener("change", refresh);
  refresh();
}

/** A place for files: choosing works here, dropping is heard by the page, which finds the zone by its `accept`. */
export function dropZone(text, accept) {
  const input = element("input", { type: "file", accept: "image/*,.zip", multiple: true, "aria-label": text,
    on: { change: () => { accept([...input.files]); input.value = ""; } } });
  const zone = element("label", { class: "drop small" }, input, element("span", {}, element("b", {}, text), " or choose files"));
  zone.accept = accept;
  return zone;
}
