// The exemplar set that is being worked on: classes with exemplars, negatives, and which stored set it came from.
//
// A source is {blob, name} for a picture of this machine, {stored, name} for one that the endpoint has; after it was
// sent once it is both. An exemplar is {id, source, mask, drawing, warning}; `mask` is a source or null.
import { colourOf } from "../core/colours.js";

export const KINDS = ["boxes", "points", "not_points", "scribbles", "polygons"];
let ids = 0;

export const emptyDrawing = () => Object.fromEntries(KINDS.map((kind) => [kind, []]));
export const drawnCount = (drawing) => KINDS.reduce((sum, kind) => sum + drawing[kind].length, 0);

/** Fires `change` whenever what it says changed. */
export class ExemplarSet extends EventTarget {
  constructor() {
    super();
    this.clear();
  }

  clear() {
    Object.assign(this, { name: null, storedDigest: null, classes: [], negatives: [], version: 0, digests: new Map() });
    this.addClass();
  }

  addClass(name = "") {
    const made = { id: ++ids, name, attributes: null, context: [], colour: colourOf(this.classes.length + 1), exemplars: [] };
    this.classes.push(made);
    this.changed();
    return made;
  }

  removeClass(one) {
    this.classes = this.classes.filter((other) => other !== one);
    this.changed();
  }

  /** `one` is a class, or null for a picture that shows none of them. */
  add(one, source, { drawing = emptyDrawing(), mask = null } = {}) {
    const made = { id: ++ids, source, mask, drawing, warning: null };
    (one ? one.exemplars : this.negatives).push(made);
    this.changed();
    return made;
  }

  remove(exemplar) {
    for (const list of [this.negatives, ...this.classes.map((one) => one.exemplars)]) {
      const at = list.indexOf(exemplar);
      if (at >= 0) list.splice(at, 1);
    }
    this.changed();
  }

  /** Call it after anything that an answer depends on was changed. */
  changed() {
    this.version += 1;
    for (const exemplar of this.everything()) exemplar.warning = null;
    this.dispatchEvent(new Event("change"));
  }

  everything() { return [...this.classes.flatMap((one) => one.exemplars), ...this.negatives]; }

  classNamed(name) { return this.classes.find((one) => one.name.trim().toLowerCase() === name.trim().toLowerCase()); }

  colourOf(name, number) { return this.classNamed(name)?.colour || colourOf(number); }

  /** Why nothing can be asked of it; empty where it can. */
  get missing() {
    const used = this.classes.filter((one) => one.exemplars.length);
    if (!used.length) return "Add an exemplar first: a picture of what you look for, under its name.";
    if (used.some((one) => !one.name.trim())) return "Give every class with exemplars a name.";
    const names = used.map((one) => one.name.trim().toLowerCase());
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    return twice ? `Two classes are named "${twice}"; names must differ.` : "";
  }

  /** The digest of what it says now, if the endpoint has it. */
  get digest() { return this.digests.get(this.version) || null; }

  /** Whether it says something else than the stored set that it came from. */
  get isChanged() { return this.digest ? this.digest !== this.storedDigest : this.everything().length > 0; }

  /** The body of a request, each source as `placed` has it. Empty classes are left out. */
  document(placed) {
    const drawn = (drawing) => Object.fromEntries(KINDS.filter((kind) => drawing[kind].length).map((kind) => [kind, drawing[kind]]));
    return {
      classes: this.classes.filter((one) => one.exemplars.length).map((one) => ({
        name: one.name.trim(), attributes: one.attributes, context: one.context,
        exemplars: one.exemplars.map(({ source, mask, drawing }) => ({
          image: placed(source), ...(mask ? { mask: placed(mask) } : {}), ...drawn(drawing) })),
      })),
      negatives: this.negatives.map(({ source }) => placed(source)),
    };
  }

  /** Takes over a stored set's document. */
  open(document, name) {
    const source = (stored, label) => (stored ? { stored, name: label } : null);
    this.classes = document.classes.map((one, i) => ({
      id: ++ids, name: one.name, attributes: one.attributes, context: one.context, colour: colourOf(i + 1),
      exemplars: one.exemplars.map(({ image, mask, ...drawing }, at) => ({
        id: ++ids, source: source(image, `${one.name} ${at + 1}`), mask: source(mask, "mask"),
        drawing: { ...emptyDrawing(), ...drawing }, warning: null })),
    }));
    this.negatives = document.negatives.map((image, at) => ({
      id: ++ids, source: source(image, `negative ${at + 1}`), mask: null, drawing: emptyDrawing(), warning: null }));
    this.name = name;
    this.storedDigest = document.digest;
    this.changed();
    this.digests.set(this.version, document.digest);
    this.dispatchEvent(new Event("change"));
  }
}
