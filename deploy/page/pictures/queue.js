// Asks for answers: a few requests at a time, each of one picture and the digest of the exemplars; can be cancelled.
import { call } from "../core/api.js";
import { lastPart } from "../core/words.js";

const AT_ONCE = 4;
// The last answers say how fast it goes; before so many of them nobody knows.
const WINDOW = 20, ENOUGH = 4;

/** Fires `change` whenever `progress` does. */
export class Queue extends EventTarget {
  /** `digest()` promises the exemplars' digest, `model()` is a name or empty. */
  constructor(collection, { digest, model }) {
    super();
    Object.assign(this, { collection, digest, model, waiting: [], controller: null, finished: null, active: 0 });
    this.reset();
    collection.addEventListener("remove", ({ detail }) => { this.waiting = this.waiting.filter((picture) => picture !== detail); });
  }

  reset() { Object.assign(this, { total: 0, done: 0, failures: 0, ends: [] }); }

  get isBusy() { return this.controller !== null; }

  /** Adds pictures to those that wait. Resolves when all are done. */
  ask(pictures) {
    const fresh = pictures.filter(({ state }) => !["waiting", "asking"].includes(state));
    if (!fresh.length) return this.running || Promise.resolve();
    for (const picture of fresh) Object.assign(picture, { state: "waiting", problem: "" });
    this.waiting.push(...fresh);
    if (!this.isBusy) this.reset();
    this.total += fresh.length;
    this.collection.changed();
    if (this.isBusy) { this.fill(); this.tell(); }
    this.running ??= this.run().finally(() => { this.running = null; });
    return this.running;
  }

  cancel() { this.controller?.abort(); }

  async run() {
    this.controller = new AbortController();
    const { signal } = this.controller;
    this.tell();
    try {
      await this.digest();  // once, not by each of the first four
      this.ends = [performance.now()];
      await new Promise((finished) => {
        this.finished = finished;
        this.fill();
      });
    } finally {
      for (const picture of this.collection.pictures) {
        if (["waiting", "asking"].includes(picture.state)) picture.state = picture.asked ? "done" : "new";
      }
      this.waiting = [];
      this.controller = this.finished = null;
      this.collection.changed();
      this.tell();
    }
  }

  /** As many requests as may run at once; what is added later is taken up by the same. */
  fill() {
    if (!this.finished) return;  // the exemplars are still on their way
    const { signal } = this.controller;
    while (this.active < AT_ONCE && this.waiting.length && !signal.aborted) {
      this.active += 1;
      this.one(this.waiting.shift(), signal).finally(() => { this.active -= 1; this.fill(); });
    }
    if (!this.active) this.finished?.();
  }

  async one(picture, signal) {
    picture.state = "asking";
    this.collection.changed();
    try {
      const digest = await this.digest();
      const rows = await this.answered(picture, digest, signal);
      this.collection.answer(picture, rows, askedOf(digest, this.model()));
    } catch (error) {
      if (error.name === "AbortError") { picture.state = picture.asked ? "done" : "new"; return; }
      this.failures += 1;
      this.collection.fail(picture, error.message);
    }
    this.done += 1;
    this.ends = [...this.ends, performance.now()].slice(-WINDOW);
    this.tell();
  }

  /** Asks with a threshold of 0, so that the slider needs no further request. */
  async answered(picture, digest, signal) {
    const { uri, name } = picture.source, model = this.model();
    const options = uri
      ? { headers: { "Content-Type": "application/json" }, body: JSON.stringify({ image: { uri }, exemplars: digest, min_score: 0, ...(model ? { model } : {}) }) }
      : { body: form({ image: [await picture.source.blob(), lastPart(name)], exemplars: [digest], min_score: ["0"], ...(model ? { model: [model] } : {}) }) };
    return (await (await call("POST", "/v1/annotate", { ...options, signal })).json()).rows;
  }

  /** {done, total, failures, secondsLeft}; null where nobody can know yet. */
  get progress() {
    const { done, total, failures, ends } = this;
    const seconds = (ends.at(-1) - ends[0]) / 1000;
    const secondsLeft = ends.length > ENOUGH ? (total - done) * seconds / (ends.length - 1) : null;
    return { done, total, failures, secondsLeft };
  }

  tell() { this.dispatchEvent(new Event("change")); }
}

/** What an answer depends on besides its picture. */
export const askedOf = (digest, model) => `${digest} ${model}`;

function form(fields) {
  const made = new FormData();
  for (const [name, value] of Object.entries(fields)) made.append(name, ...value);
  return made;
}
