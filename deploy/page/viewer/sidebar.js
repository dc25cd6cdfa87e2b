// Beside the large view: classes with score, presence and verdict; tools; how masks look.
import { button, element, setReason } from "../core/dom.js";
import { share } from "../core/words.js";
import { STYLES } from "../masks/tint.js";
import { hasMask, wordOf } from "../masks/verdicts.js";

const OF_MASKS = [
  ["accepted", "Accept", "The mask is right"], ["rejected", "Reject", "The class is there, but the mask is wrong"],
  ["absent", "Not there", "The class is not in the picture"],
];
const OF_ABSENT = [["absent", "Not there", "Right: the class is not in the picture"], ["rejected", "Missing", "The class is in the picture, though it was not found"]];
const TOOLS = [["move", "Move"], ["brush", "Brush"], ["erase", "Erase"]];
const STYLE_NAMES = { both: "Filled and outlined", outline: "Outlined", fill: "Filled" };

export class Sidebar {
  constructor(viewer) {
    this.viewer = viewer;
    this.classes = element("ul", { class: "plain classes", "aria-label": "Classes" });
    this.tools = TOOLS.map(([name, label]) => button(label, () => { viewer.setTool(name); viewer.refresh(); }, { data: { tool: name } }));
    this.size = element("input", { type: "range", id: "brush-size", min: 1, max: 100, step: 1,
      on: { input: () => { viewer.radius = Number(this.size.value); this.refresh(); } } });
    this.opacity = element("input", { type: "range", id: "opacity", min: 0.1, max: 1, step: 0.05,
      on: { input: () => viewer.host.looks.set({ opacity: Number(this.opacity.value) }) } });
    this.style = element("select", { id: "mask-style", on: { change: () => viewer.host.looks.set({ style: this.style.value }) } },
      ...STYLES.map((name) => element("option", { value: name }, STYLE_NAMES[name])));
    this.beside = element("input", { type: "checkbox", id: "beside", on: { change: () => { viewer.host.looks.set({ beside: this.beside.checked }); viewer.fit(); } } });
    this.undo = button("Undo", () => viewer.judging.undo(), { id: "viewer-undo" });
    this.teach = button("Use as exemplar", () => viewer.judging.teach(), { id: "teach" });
    this.accept = button("Accept the rest and go on", () => viewer.acceptAll(), { class: "primary", id: "accept-all" });
    this.element = element("aside", { class: "sidebar", "aria-label": "Classes and tools" },
      this.classes, this.accept,
      element("details", { class: "words" }, element("summary", {}, "What do these words mean?"),
        element("p", {}, element("b", {}, "Accept"), ": the mask is right. ", element("b", {}, "Reject"), ": the class is there, but the mask is wrong. ",
          element("b", {}, "Not there"), ": the class is not in the picture. ", element("b", {}, "Missing"), ": it is, though it was not found."),
        element("p", {}, element("b", {}, "Presence"), " says how certain it is that the class is in the picture at all. Below 0.50 it counts as absent and nobody looks for a mask."),
        element("p", {}, element("b", {}, "Score"), " joins presence with how decided the mask is. Masks that score below the threshold are left out of the list and of downloads. Both go from 0 to 1.")),
      element("h3", {}, "Mend"), element("div", { class: "row tools", role: "toolbar", "aria-label": "Tools" }, ...this.tools, this.undo),
      labelled("Brush size", this.size), this.teach,
      element("h3", {}, "Look"), labelled("Masks", this.style), labelled("Opacity", this.opacity),
      element("label", { class: "check", for: "beside" }, this.beside, "Original beside the masks"));
  }

  refresh() {
    const { viewer } = this, { looks } = viewer.host, { judging } = viewer, { classes } = judging;
    for (const tool of this.tools) {
      tool.setAttribute("aria-pressed", String(tool.dataset.tool === viewer.toolName));
      setReason(tool, tool.dataset.tool === "move" || classes.length ? "" : "There is no class to draw: ask for an answer first.");
    }
    this.size.value = viewer.radius;
    this.opacity.value = looks.opacity;
    this.style.value = looks.style;
    this.beside.checked = looks.beside;
    setReason(this.undo, judging.history.length ? "" : "There is nothing to undo in this picture.");
    setReason(this.teach, judging.whyNotTeach());
    setReason(this.accept, classes.some(({ verdict }) => !verdict) ? "" : classes.length ? "Everything here has a verdict; press Next." : "There is no answer to accept yet.");
    const focused = document.activeElement?.closest?.(".classes li")?.dataset.name, control = document.activeElement?.dataset?.control;
    this.classes.replaceChildren(...classes.map((one) => this.item(one)));
    if (!classes.length) this.classes.append(element("li", { class: "hint" }, viewer.picture?.problem ? "There is no answer to judge." : "This picture has no answer yet."));
    if (focused) [...this.classes.children].find((item) => item.dataset.name === focused)?.querySelector(`[data-control="${control}"]`)?.focus();
  }

  item(one) {
    const { name, classId, row, verdict, mask } = one;
    const { viewer } = this, { looks } = viewer.host, { judging } = viewer, isCurrent = judging.current?.name === name;
    const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = viewer.host.colourOf(name, classId);
    const shown = element("input", { type: "checkbox", checked: !looks.hidden.has(name), "aria-label": `Show ${name}`, data: { control: "shown" },
      on: { change: () => looks.toggle(name) } });
    const decisions = hasMask(row) || mask ? OF_MASKS : OF_ABSENT;
    return element("li", { class: isCurrent ? "current" : "", data: { name } },
      element("div", { class: "row tight" }, element("label", { class: "check", title: `Show ${name}` }, shown, swatch),
        button(name, () => judging.choose(name), { class: "quiet grow name", "aria-pressed": String(isCurrent), data: { control: "name" } }),
        element("span", { class: "chip", data: { kind: verdict ? "good" : mask ? "done" : "wait" } }, wordOf(one))),
      element("p", { class: "hint" }, `score ${share(row.score)}, presence ${share(row.presence)}${verdict?.reviewer ? `; ${verdict.reviewer} says ${wordOf(one)}` : ""}`),
      element("div", { class: "row tools" }, ...decisions.map(([kind, label, meaning]) => button(label, () => { judging.choose(name); judging.decide(name, kind); },
        { class: "small", title: meaning, "aria-pressed": String(verdict?.verdict === kind), "aria-label": `${label}: ${name}`, data: { control: kind } }))));
  }
}

const labelled = (text, control) => element("div", { class: "field" }, element("label", { for: control.id }, text), control);
