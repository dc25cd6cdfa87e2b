// A review with its server: pictures and their answers, verdicts sent as they are made, those of others heard.
import { call, getJson, sendJson } from "../core/api.js";
import { saidOf, shownOf } from "./answers.js";

const AT_ONCE = 6, EVERY_MS = 10_000;

/**
 * Fires `others` with {name, texts} where somebody had judged differently, `problem` with an error, `renewed` with a picture
 * that changed, and `replaced` where the answers themselves were given again.
 */
export class Session extends EventTarget {
  /** `base` is the address of the review, `reviewer()` a name. */
  constructor(base, collection, reviewer) {
    super();
    Object.assign(this, { base, collection, reviewer, pending: new Map(), sending: null, state: "", pictures: new Map() });
  }

  get isBusy() { return this.pending.size > 0 || this.sending !== null; }

  async open() {
    const { output, state, pictures } = await getJson(this.base);
    this.state = state;
    const added = this.collection.add(pictures.map(({ image_id: id, name }) => ({
      name, uri: id, blob: async () => (await call("GET", `${this.base}/pictures/${id}/image`)).blob() })));
    added.forEach((picture) => this.pictures.set(picture.source.uri, picture));
    const waiting = [...added];
    const load = async () => { while (waiting.length) await this.load(waiting.shift()); };
    await Promise.all(Array.from({ length: AT_ONCE }, load));
    setInterval(() => { if (!document.hidden) this.listen().catch(() => {}); }, EVERY_MS);
    return output;
  }

  async load(picture) {
    try { this.take(picture, await getJson(`${this.base}/pictures/${picture.source.uri}`)); }
    catch (error) { this.collection.fail(picture, error.message); }
  }

  take(picture, told) {
    const { rows, verdicts } = shownOf(told);
    Object.assign(picture, { verdicts, judgedAt: told.judged_at });
    this.collection.answer(picture, rows, null);
    this.dispatchEvent(new CustomEvent("renewed", { detail: picture }));
  }

  /** What others said meanwhile. */
  async listen() {
    const { state, pictures } = await getJson(this.base);
    if (state !== this.state) { this.dispatchEvent(new Event("replaced")); return; }
    for (const { image_id: id, judged_at: judgedAt } of pictures) {
      const picture = this.pictures.get(id);
      if (picture && picture.judgedAt !== judgedAt && !this.isBusy) await this.load(picture);
    }
  }

  /** Shown at once, sent at once; verdicts on one picture that come together travel together. */
  judge(picture, name, verdict) {
    this.collection.judge(picture, name, verdict && { ...verdict, reviewer: this.reviewer() });
    if (!this.pending.has(picture)) this.pending.set(picture, new Map());
    this.pending.get(picture).set(name, verdict);
    this.sending ??= Promise.resolve().then(() => this.send()).finally(() => { this.sending = null; });
  }

  async send() {
    while (this.pending.size) {
      const [picture, said] = this.pending.entries().next().value;
      this.pending.delete(picture);
      const rowOf = (name) => picture.rows.find((row) => row.class_name === name);
      const body = { reviewer: this.reviewer(), verdicts: [...said].map(([name, verdict]) => saidOf(rowOf(name), verdict)) };
      try {
        const { picture: told, others } = await sendJson("POST", `${this.base}/pictures/${picture.source.uri}/verdicts`, body);
        if (!this.pending.has(picture)) this.take(picture, told);
        if (others.length) this.dispatchEvent(new CustomEvent("others", { detail: { picture, others } }));
      } catch (error) {
        this.dispatchEvent(new CustomEvent("problem", { detail: { picture, error } }));
        await this.load(picture);  // what was not kept is not shown as if it were
      }
    }
  }
}
