// How masks look, remembered by this browser: the same in the list and in the large view.
import { readSetting, writeSetting } from "../core/memory.js";
import { STYLES } from "../masks/tint.js";

/** Fires `change`. `hidden` holds the names of classes that are not drawn. */
export class Looks extends EventTarget {
  constructor() {
    super();
    const { style = "both", opacity = 0.45, beside = false } = readSetting("looks", {});
    Object.assign(this, { style: STYLES.includes(style) ? style : "both", opacity, beside, hidden: new Set() });
  }

  set(change) {
    Object.assign(this, change);
    writeSetting("looks", { style: this.style, opacity: this.opacity, beside: this.beside });
    this.dispatchEvent(new Event("change"));
  }

  toggle(name) {
    if (!this.hidden.delete(name)) this.hidden.add(name);
    this.dispatchEvent(new Event("change"));
  }

  nextStyle() { this.set({ style: STYLES[(STYLES.indexOf(this.style) + 1) % STYLES.length] }); }
}
