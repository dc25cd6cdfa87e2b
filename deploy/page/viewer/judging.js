// What is said of the picture in the large view: the class in hand, verdicts, masks that are mended, undo.
import { say } from "../core/messages.js";
import { decodeMask, encodeMask } from "../masks/rle.js";
import { hasMask, standings } from "../masks/verdicts.js";

const MOST_UNDONE = 30;

export class Judging {
  /** `host` is that of the large view, `stage` knows the picture's size, `changed()` shows what holds now. */
  constructor(host, stage, changed) {
    Object.assign(this, { host, stage, changed, picture: null, className: "", stroke: null, history: [] });
    this.masks = new Map();  // class -> its mask unpacked, or null; the masks of one picture alone
  }

  begin(picture) {
    this.picture = picture;
    this.history = [];
    this.masks.clear();
    if (!this.classes.some(({ name }) => name === this.className)) this.className = this.classes[0]?.name || "";
  }

  end() { this.masks.clear(); }

  /** Somebody else changed what holds; what is being drawn stays. */
  renew() {
    if (this.stroke) return;
    this.masks.clear();
    this.changed();
  }

  get classes() { return standings(this.picture.rows, this.picture.verdicts, this.host.threshold()); }

  get current() { return this.classes.find(({ name }) => name === this.className) || this.classes[0]; }

  choose(name) {
    this.className = name;
    this.changed();
  }

  step(by) {
    const names = this.classes.map(({ name }) => name);
    if (names.length) this.choose(names[(names.indexOf(this.className) + by + names.length) % names.length]);
  }

  /* Masks, as the brush has them */

  maskOf({ name, mask }) {
    if (!this.masks.has(name)) this.masks.set(name, mask ? decodeMask(mask.rle) : null);
    return this.masks.get(name);
  }

  /** The classes with a mask to show, the one in hand on top. */
  layers(hidden) {
    const shown = this.classes.filter(({ name, mask }) => !hidden.has(name) && (mask || (this.stroke && name === this.className)));
    shown.sort((a, b) => (a.name === this.className) - (b.name === this.className) || (a.mask?.score ?? 1) - (b.mask?.score ?? 1));
    return shown.map((one) => ({ mask: this.maskOf(one), colour: this.host.colourOf(one.name, one.classId) })).filter(({ mask }) => mask);
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

  /* Verdicts */

  judge(name, verdict) {
    this.host.judge(this.picture, name, verdict);
    this.changed();
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

  /** What nobody has judged yet is right. */
  acceptRest() {
    for (const { name, verdict } of this.classes) if (!verdict) this.decide(name, "accepted");
  }

  remember(name, verdict) { this.history = [...this.history, { name, verdict }].slice(-MOST_UNDONE); }

  undo() {
    const last = this.history.pop();
    if (!last) { say("There is nothing to undo in this picture."); return; }
    this.masks.delete(last.name);
    this.judge(last.name, last.verdict);
  }

  /* Its mask as an exemplar */

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
}
