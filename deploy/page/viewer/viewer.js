// The large view: look at a picture, judge its classes, mend their masks. It knows no set and no queue, so that any
// list of answered pictures can be reviewed with it.
//
// A picture is {id, name, rows, verdicts, source: {blob()}}: rows as the API answers them, verdicts as
// masks/verdicts.js tells. `host` is what surrounds it:
//   pictures()                      the list, in its order
//   judge(picture, class, verdict)  keeps a verdict; null takes it back
//   colourOf(name, number), threshold(), looks
//   canTeach, teach(picture, class, rle)   optional: "use as exemplar"; `canTeach` is a reason why not, or empty
//   finished()                             optional: the last picture was accepted
//   closed(picture)                 the view was left
import { button, element, setReason } from "../core/dom.js";
import { say } from "../core/messages.js";
import { counted } from "../core/words.js";
import { decodeMask, encodeMask } from "../masks/rle.js";
import { hasMask, standings } from "../masks/verdicts.js";
import { brush } from "./brush.js";
import { decoded } from "./decoding.js";
import { addViewerKeys } from "./keys.js";
import { Overlay } from "./overlay.js";
import { Sidebar } from "./sidebar.js";
import { Stage } from "./stage.js";

const MOST_UNDONE = 30;

export class Viewer {
  constructor(host) {
    Object.assign(this, { host, index: 0, className: "", toolName: "move", radius: 12, overlay: new Overlay(), masks: new Map(), history: [], isBare: false });
    this.build();
    this.stage = new Stage(this.canvas, (context, stage) => this.paint(context, stage));
    host.looks.addEventListener("change", () => { if (this.isOpen) this.refresh(); });
    addViewerKeys(this);
  }

  get isOpen() { return !this.element.hidden; }

  get others() { return document.querySelectorAll("body > header, body > main, body > .skip"); }

  get picture() { return this.list[this.index]; }

  get classes() { return standings(this.picture.rows, this.picture.verdicts, this.host.threshold()); }

  get current() { return this.classes.find(({ name }) => name === this.className) || this.classes[0]; }

  build() {
    this.title = element("h2", { id: "viewer-title", class: "grow" });
    this.place = element("span", { class: "hint nowrap", "aria-live": "polite" });
    this.canvas = element("canvas", { tabindex: 0, class: "stage", role: "application", "aria-describedby": "viewer-how" });
    this.notice = element("p", { class: "notice", hidden: true });
    this.sidebar = new Sidebar(this);
    this.element = element("section", { id: "viewer", role: "dialog", "aria-modal": "true", "aria-labelledby": "viewer-title", hidden: true },
      element("div", { class: "row head" }, button("← Previous", () => this.go(-1), { "aria-label": "Previous picture", id: "viewer-previous" }),
        button("Next →", () => this.go(1), { "aria-label": "Next picture", id: "viewer-next" }), this.title, this.place,
        button("Close", () => this.close(), { class: "primary", id: "viewer-close" })),
      element("div", { class: "body" }, element("div", { class: "canvas-place" }, this.canvas, this.notice), this.sidebar.element),
      element("p", { id: "viewer-how", class: "sr-only" }, "With a brush in hand, arrow keys move its pointer and the space bar puts it down and lifts it. Question mark lists the keys."));
    document.body.append(this.element);
  }

  /** `list` stays as it is while the view is open, whatever the filters would say meanwhile. */
  open(index) {
    this.list = [...this.host.pictures()];
    this.returnTo = document.activeElement;
    this.element.hidden = false;
    for (const other of this.others) other.inert = true;
    document.body.classList.add("viewing");
    this.show(index);
    this.canvas.focus();
  }

  close() {
    this.element.hidden = true;
    for (const other of this.others) other.inert = false;
    document.body.classList.remove("viewing");
    this.masks.clear();
    this.stage.bitmap?.close?.();
    this.stage.bitmap = null;
    this.host.closed(this.picture, this.returnTo);
  }

  go(by) {
    const goal = this.index + by;
    if (goal < 0 || goal >= this.list.length) { say(by < 0 ? "This is the first picture." : "This is the last picture."); return; }
    this.show(goal);
  }

  async show(index) {
    this.index = index;
    this.masks.clear();
    this.history = [];
    const { picture } = this;
    this.title.textContent = picture.name;
    this.canvas.setAttribute("aria-label", `${picture.name}, large`);
    this.place.textContent = `${index + 1} of ${counted(this.list.length, "picture")}`;
    setReason(this.element.querySelector("#viewer-previous"), index ? "" : "This is the first picture.");
    setReason(this.element.querySelector("#viewer-next"), index < this.list.length - 1 ? "" : "This is the last picture.");
    if (!this.classes.some(({ name }) => name === this.className)) this.className = this.classes[0]?.name || "";
    this.refresh();
    this.isSeen = false;
    this.notice.hidden = false;
    this.notice.textContent = "Opening…";
    try {
      const bitmap = await decoded(await picture.source.blob());
      if (picture !== this.picture || !this.isOpen) { bitmap.close(); return; }
      const row = picture.rows.find(({ width }) => width);
      this.stage.show(bitmap, row?.width || bitmap.width, row?.height || bitmap.height);
      this.notice.hidden = true;
      this.isSeen = true;
    } catch (error) {
      if (picture !== this.picture) return;
      this.showWithoutPicture(picture, error);
    }
    this.refresh();
  }

  /** The endpoint reads formats that browsers do not: the masks alone are still worth a look. */
  async showWithoutPicture(picture, error) {
    const row = picture.rows.find(({ width }) => width);
    this.isSeen = true;
    this.notice.textContent = picture.problem || (error.status ? error.message : "This browser does not read this picture's format; only its masks are shown.");
    this.notice.hidden = false;
    if (!row) { this.stage.bitmap = null; this.stage.redraw(); return; }
    this.stage.show(await createImageBitmap(new ImageData(1, 1)), row.width, row.height);
  }

  refresh() {
    this.stage.beside = this.host.looks.beside;
    this.setTool(this.toolName);
    this.sidebar.refresh();
    this.stage.redraw();
  }

  fit() { this.stage.fit(); }

  /** Somebody else changed what holds for a picture; what is being drawn stays. */
  renew(picture) {
    if (!this.isOpen || picture !== this.picture || this.stroke) return;
    this.masks.clear();
    this.refresh();
  }

  /* Masks */

  maskOf({ name, mask }) {
    if (!this.masks.has(name)) this.masks.set(name, mask ? decodeMask(mask.rle) : null);
    return this.masks.get(name);
  }

  paint(context, stage) {
    if (!this.picture || this.isBare) return;
    const { hidden } = this.host.looks;
    const shown = this.classes.filter(({ name, mask }) => !hidden.has(name) && (mask || (this.stroke && name === this.className)));
    shown.sort((a, b) => (a.name === this.className) - (b.name === this.className) || (a.mask?.score ?? 1) - (b.mask?.score ?? 1));
    const layers = shown.map((one) => ({ mask: this.maskOf(one), colour: this.host.colourOf(one.name, one.classId) })).filter(({ mask }) => mask);
    this.overlay.paint(context, stage, layers, this.host.looks);
  }

  setTool(name) {
    this.toolName = this.classes.length ? name : "move";
    this.stage.tool = this.toolName === "move" ? null : brush(this, this.toolName === "brush" ? 1 : 0, () => this.radius / Math.min(1, this.stage.scale));
    this.canvas.dataset.tool = this.toolName;
  }

  /** What a stroke changes; a class without a mask gets an empty one. */
  target() {
    const { width, height } = this.stage;
    if (!this.maskOf(this.current)) this.masks.set(this.className, new Uint8Array(width * height));
    return { mask: this.masks.get(this.className), width, height };
  }

  begun() {
    this.className = this.current.name;
    this.stroke = { name: this.className, verdict: this.picture.verdicts[this.className] || null };
  }

  ended() {
    const { width, height } = this.stage, rle = encodeMask(this.target().mask, [height, width]);
    const { name, verdict } = this.stroke;
    this.stroke = null;
    this.remember(name, verdict);
    this.judge(name, { verdict: "mended", rle });
  }

  cancelled() {
    this.masks.delete(this.className);
    this.stroke = null;
    this.stage.redraw();
  }

  remember(name, verdict) { this.history = [...this.history, { name, verdict }].slice(-MOST_UNDONE); }

  undo() {
    const last = this.history.pop();
    if (!last) { say("There is nothing to undo in this picture."); return; }
    this.masks.delete(last.name);
    this.judge(last.name, last.verdict);
  }

  /* Verdicts */

  judge(name, verdict) {
    this.host.judge(this.picture, name, verdict);
    this.refresh();
  }

  /** "accepted", "rejected" or "absent" for a class; the same again takes it back. */
  decide(name, kind) {
    const one = this.classes.find((other) => other.name === name);
    if (!one) return;
    const before = this.picture.verdicts[name] || null;
    this.remember(name, before);
    this.masks.delete(name);
    if (before?.verdict === kind) { this.judge(name, null); return; }
    const rle = before?.rle || one.mask?.rle || (hasMask(one.row) ? one.row.rle : null);
    // Where nothing was found, accepting says that it is not there.
    const said = kind === "accepted" && !rle ? "absent" : kind;
    this.judge(name, { verdict: said, rle: said === "absent" ? null : rle });
  }

  /** Accepts what nobody has judged yet, and goes on. */
  acceptAll() {
    if (!this.isSeen) { say("The picture is not shown yet."); return; }
    for (const { name, verdict } of this.classes) if (!verdict) this.decide(name, "accepted");
    if (this.index < this.list.length - 1) this.go(1);
    else if (this.host.finished) this.host.finished();
    else say("That was the last picture.", "good");
  }

  teach() {
    const { current, host } = this;
    const why = this.whyNotTeach();
    if (why) { say(why); return; }
    host.teach(this.picture, current.name, current.mask.rle);
  }

  whyNotTeach() {
    if (!this.host.teach) return "Exemplars are not changed from here.";
    if (!this.current?.mask) return "There is no mask to use: draw one with the brush, or accept one.";
    return this.host.canTeach?.() || "";
  }

  resize(factor) {
    this.radius = Math.max(1, Math.min(200, this.radius * factor));
    this.sidebar.refresh();
  }

  take(toolName) {
    this.setTool(toolName);
    this.refresh();
    this.canvas.focus();
  }

  choose(name) {
    this.className = name;
    this.refresh();
  }

  step(by) {
    const names = this.classes.map(({ name }) => name);
    if (names.length) this.choose(names[(names.indexOf(this.className) + by + names.length) % names.length]);
  }
}
