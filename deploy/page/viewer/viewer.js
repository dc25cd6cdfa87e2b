// The large view: goes through pictures, shows each, with tools and keys; what is said of one is in judging.js. It knows
// no set and no queue, so that any list of answered pictures can be reviewed with it.
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
import { hush, say } from "../core/messages.js";
import { counted } from "../core/words.js";
import { brush } from "./brush.js";
import { decoded } from "./decoding.js";
import { Judging } from "./judging.js";
import { addViewerKeys } from "./keys.js";
import { Overlay } from "./overlay.js";
import { Sidebar } from "./sidebar.js";
import { Stage } from "./stage.js";
import { zoomButtons } from "./zoom.js";

export class Viewer {
  constructor(host) {
    Object.assign(this, { host, index: 0, toolName: "move", radius: 12, overlay: new Overlay(), isBare: false });
    this.build();
    this.stage = new Stage(this.canvas, (context, stage) => this.paint(context, stage));
    this.judging = new Judging(host, this.stage, () => this.refresh());
    host.looks.addEventListener("change", () => { if (this.isOpen) this.refresh(); });
    addViewerKeys(this);
  }

  get isOpen() { return !this.element.hidden; }

  get others() { return document.querySelectorAll("body > header, body > main, body > .skip"); }

  get picture() { return this.list[this.index]; }

  build() {
    this.title = element("h2", { id: "viewer-title", class: "grow" });
    this.place = element("span", { class: "hint nowrap", "aria-live": "polite" });
    this.canvas = element("canvas", { tabindex: 0, class: "stage", role: "application", "aria-describedby": "viewer-how" });
    this.notice = element("p", { class: "notice", hidden: true });
    this.sidebar = new Sidebar(this);
    this.element = element("section", { id: "viewer", role: "dialog", "aria-modal": "true", "aria-labelledby": "viewer-title", hidden: true },
      element("div", { class: "row head" }, button(["←", element("span", { class: "word" }, "Previous")], () => this.go(-1), { "aria-label": "Previous picture", id: "viewer-previous" }),
        button([element("span", { class: "word" }, "Next"), "→"], () => this.go(1), { "aria-label": "Next picture", id: "viewer-next" }), this.title,
        zoomButtons(() => this.stage), this.place,
        button("Close", () => this.close(), { class: "primary", id: "viewer-close" })),
      element("div", { class: "body" }, element("div", { class: "canvas-place" }, this.canvas, this.notice), this.sidebar.element),
      element("p", { id: "viewer-how", class: "sr-only" }, "With a brush in hand, arrow keys move its pointer and the space bar puts it down and lifts it. Question mark lists the keys."));
    document.body.append(this.element);
  }

  /** `list` stays as it is while the view is open, whatever the filters would say meanwhile. */
  open(index) {
    hush();
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
    this.judging.end();
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
    const { picture } = this;
    this.judging.begin(picture);
    this.title.textContent = picture.name;
    this.canvas.setAttribute("aria-label", `${picture.name}, large`);
    this.place.textContent = `${index + 1} of ${counted(this.list.length, "picture")}`;
    setReason(this.element.querySelector("#viewer-previous"), index ? "" : "This is the first picture.");
    setReason(this.element.querySelector("#viewer-next"), index < this.list.length - 1 ? "" : "This is the last picture.");
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

  /** Somebody else changed what holds for a picture. */
  renew(picture) { if (this.isOpen && picture === this.picture) this.judging.renew(); }

  paint(context, stage) {
    if (!this.picture || this.isBare) return;
    const { looks } = this.host;
    this.overlay.paint(context, stage, this.judging.layers(looks.hidden), looks);
  }

  setTool(name) {
    this.toolName = this.judging.classes.length ? name : "move";
    this.stage.tool = this.toolName === "move" ? null : brush(this.judging, this.toolName === "brush" ? 1 : 0, () => this.radius / Math.min(1, this.stage.scale));
    this.canvas.dataset.tool = this.toolName;
  }

  take(toolName) {
    this.setTool(toolName);
    this.refresh();
    this.canvas.focus();
  }

  resize(factor) {
    this.radius = Math.max(1, Math.min(200, this.radius * factor));
    this.sidebar.refresh();
  }

  /** Accepts what nobody has judged yet, and goes on. */
  acceptAll() {
    if (!this.isSeen) { say("The picture is not shown yet."); return; }
    this.judging.acceptRest();
    if (this.index < this.list.length - 1) this.go(1);
    else if (this.host.finished) this.host.finished();
    else say("That was the last picture.", "good");
  }
}
