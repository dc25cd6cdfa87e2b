// The pictures on the page with their answers and verdicts; which of them are shown, and in which order.
//
// Rows keep their masks as run lengths, pixels are read from the file when they are looked at: hundreds fit.
import { readVerdicts, writeVerdicts } from "../core/memory.js";
import { certainty, isFound, standings } from "../masks/verdicts.js";

let ids = 0;

export const SORTS = {
  added: "As added", uncertain: "Least certain", certain: "Most certain", name: "By name",
};
export const STATES = {
  all: "All", found: "Something found", nothing: "Nothing found", waiting: "Not asked yet", stale: "Stale answers",
  failed: "Failed", open: "Not looked at", judged: "Looked at", mended: "Mended by hand",
};

/**
 * Fires `change` at most once a frame, `verdict` with each verdict. `memory` keeps verdicts for when a picture comes back:
 * this browser's, unless somebody else keeps them.
 */
export class Collection extends EventTarget {
  constructor(memory = { read: readVerdicts, write: writeVerdicts }) {
    super();
    Object.assign(this, { memory, pictures: [], threshold: 0.5, sort: "added", state: "all", className: "", asked: null });
  }

  /** `sources` are {name, size, modified, blob(), uri}. */
  add(sources) {
    const added = sources.map((source) => ({
      id: ++ids, name: source.name, source, key: source.uri || `${source.name}|${source.size}|${source.modified}`,
      state: "new", rows: [], asked: null, problem: "", verdicts: {}, thumb: null,
    }));
    this.pictures.push(...added);
    for (const picture of added) {
      this.memory.read(picture.key).then((verdicts) => { if (verdicts) { picture.verdicts = verdicts; this.changed(); } });
    }
    this.changed();
    return added;
  }

  remove(picture) {
    this.pictures = this.pictures.filter((other) => other !== picture);
    this.dispatchEvent(new CustomEvent("remove", { detail: picture }));
    this.changed();
  }

  clear() { for (const picture of this.pictures) this.dispatchEvent(new CustomEvent("remove", { detail: picture })); this.pictures = []; this.changed(); }

  /** `asked` is what the answer depends on: see `askedOf`. */
  answer(picture, rows, asked) {
    Object.assign(picture, { state: "done", rows, asked, problem: "" });
    this.changed();
  }

  fail(picture, problem) {
    Object.assign(picture, { state: "failed", problem });
    this.changed();
  }

  /** `verdict` null takes one back. */
  judge(picture, className, verdict) {
    if (verdict) picture.verdicts[className] = verdict;
    else delete picture.verdicts[className];
    this.memory.write(picture.key, picture.verdicts);
    this.dispatchEvent(new CustomEvent("verdict", { detail: { picture, className, verdict } }));
    this.changed();
  }

  changed() {
    this.frame ??= requestAnimationFrame(() => { this.frame = null; this.dispatchEvent(new Event("change")); });
  }

  isStale(picture) { return picture.state === "done" && this.asked !== picture.asked; }

  get unasked() { return this.pictures.filter(({ state }) => state === "new"); }
  get stale() { return this.pictures.filter((picture) => this.isStale(picture)); }
  get failed() { return this.pictures.filter(({ state }) => state === "failed"); }
  get answered() { return this.pictures.filter(({ state }) => state === "done"); }

  /** All classes that were answered, by number: [{name, number}]. */
  get classes() {
    const numbers = new Map(this.answered.flatMap(({ rows }) => rows.filter((row) => row.class_name).map((row) => [row.class_name, row.class_id])));
    return [...numbers].map(([name, number]) => ({ name, number })).sort((a, b) => a.number - b.number);
  }

  standings(picture) { return standings(picture.rows, picture.verdicts, this.threshold); }

  /** The pictures that pass the filters, sorted. */
  get shown() {
    const rowsOf = (picture) => (this.className ? picture.rows.filter((row) => row.class_name === this.className) : picture.rows);
    const shown = this.pictures.filter((picture) => this.passes(picture));
    const measure = (picture) => (picture.state === "done" ? certainty(rowsOf(picture), picture.verdicts, this.threshold) : 2);
    if (this.sort === "name") shown.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
    else if (this.sort !== "added") {
      const measures = new Map(shown.map((picture) => [picture, measure(picture)])), sign = this.sort === "uncertain" ? 1 : -1;
      shown.sort((a, b) => (a.state === "done") !== (b.state === "done") ? (a.state === "done" ? -1 : 1) : sign * (measures.get(a) - measures.get(b)));
    }
    return shown;
  }

  passes(picture) {
    const isAnswered = picture.state === "done";
    const found = isAnswered ? this.standings(picture).filter(({ mask }) => mask) : [];
    const isFoundHere = this.className ? found.some(({ name }) => name === this.className) : found.length > 0;
    const judged = Object.entries(picture.verdicts).filter(([name]) => !this.className || name === this.className);
    switch (this.state) {
      case "found": return isFoundHere;
      case "nothing": return isAnswered && !isFoundHere;
      case "waiting": return ["new", "waiting", "asking"].includes(picture.state);
      case "stale": return this.isStale(picture);
      case "failed": return picture.state === "failed";
      case "open": return isAnswered && !judged.length;
      case "judged": return judged.length > 0;
      case "mended": return judged.some(([, { verdict }]) => verdict === "mended");
      default: return !this.className || isFoundHere || !isAnswered;
    }
  }

  /** For each class: how many found, and its scores in `bins` equal bins. */
  summary(bins = 20) {
    const classes = new Map();
    for (const { rows } of this.answered) for (const row of rows) {
      if (!row.class_name) continue;
      if (!classes.has(row.class_name)) classes.set(row.class_name, { name: row.class_name, number: row.class_id, found: 0, asked: 0, scores: Array(bins).fill(0) });
      const one = classes.get(row.class_name);
      one.asked += 1;
      one.found += isFound(row, this.threshold);
      one.scores[Math.min(bins - 1, Math.floor(row.score * bins))] += 1;
    }
    return [...classes.values()].sort((a, b) => a.number - b.number);
  }
}
