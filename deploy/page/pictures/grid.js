// The pictures as tiles. Only those in view exist: three hundred cost as much as thirty.
import { parts } from "../core/colours.js";
import { button, element } from "../core/dom.js";
import { lastPart, share } from "../core/words.js";
import { wordOf } from "../masks/verdicts.js";
import { rasterised } from "../masks/rle.js";
import { tint } from "../masks/tint.js";
import { thumbnail } from "../viewer/decoding.js";

const LEAST_WIDTH = 224, GAP = 12, HEAD_HEIGHT = 52, LINE_HEIGHT = 20, MOST_LINES = 3, AHEAD = 600, KEPT = 400;
// A picture is as high as so much of its width; what differs by little is cut at its edges instead of getting bars.
const RATIO = 0.7, CUT = 0.08;

/** `looks()` gives {style, opacity, hidden}; `colourOf(name, number)`; `open(index)`, `retry(picture)`, `remove(picture)` or null. */
export class Grid {
  constructor(place, collection, { looks, colourOf, open, retry, remove = null }) {
    Object.assign(this, { place, collection, looks, colourOf, open, retry, remove, tiles: new Map(), shown: [], focused: 0, textHeight: HEAD_HEIGHT });
    this.thumbs = new Map();  // picture id -> promise of {blob, width, height}; the oldest leave first
    for (const event of ["scroll", "resize"]) addEventListener(event, () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.schedule()).observe(place);
    collection.addEventListener("remove", ({ detail }) => this.thumbs.delete(detail.id));
    place.addEventListener("keydown", (event) => this.onKey(event));
  }

  refresh() {
    this.shown = this.collection.shown;
    const lines = this.collection.failed.length ? MOST_LINES : Math.min(MOST_LINES, this.collection.classes.length || 1);
    this.textHeight = HEAD_HEIGHT + LINE_HEIGHT * lines;
    this.draw(true);
  }

  schedule() { this.frame ??= requestAnimationFrame(() => { this.frame = null; this.draw(false); }); }

  layout() {
    const width = this.place.clientWidth || LEAST_WIDTH;
    const columns = Math.max(1, Math.floor((width + GAP) / (LEAST_WIDTH + GAP)));
    const tileWidth = (width - GAP * (columns - 1)) / columns, tileHeight = Math.round(tileWidth * RATIO) + this.textHeight;
    return { columns, tileWidth, tileHeight };
  }

  draw(isChanged) {
    const { columns, tileWidth, tileHeight } = this.layout(), step = tileHeight + GAP;
    this.place.style.height = `${Math.max(0, Math.ceil(this.shown.length / columns) * step - GAP)}px`;
    const top = this.place.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor((-top - AHEAD) / step)) * columns;
    const last = Math.min(this.shown.length, Math.ceil((innerHeight - top + AHEAD) / step) * columns);
    const wanted = this.shown.slice(first, last);
    for (const [id, tile] of this.tiles) if (!wanted.some((picture) => picture.id === id)) this.drop(id, tile);
    wanted.forEach((picture, i) => {
      const index = first + i;
      let tile = this.tiles.get(picture.id);
      if (!tile) this.tiles.set(picture.id, tile = this.made(picture));
      const left = (index % columns) * (tileWidth + GAP), down = Math.floor(index / columns) * step;
      Object.assign(tile.element.style, { width: `${tileWidth}px`, height: `${tileHeight}px`, transform: `translate(${left}px, ${down}px)` });
      tile.picture.style.height = `${tileHeight - this.textHeight}px`;
      tile.element.setAttribute("aria-posinset", index + 1);
      tile.element.setAttribute("aria-setsize", this.shown.length);
      tile.open.tabIndex = index === Math.min(this.focused, this.shown.length - 1) || wanted.length === 1 ? 0 : -1;
      tile.index = index;
      if (isChanged || !tile.isFilled) this.fill(tile, picture);
    });
    if (wanted.length && !wanted.some((picture) => this.tiles.get(picture.id).open.tabIndex === 0)) this.tiles.get(wanted[0].id).open.tabIndex = 0;
  }

  drop(id, tile) {
    if (tile.url) URL.revokeObjectURL(tile.url);
    tile.element.remove();
    this.tiles.delete(id);
  }

  made(picture) {
    const tile = { isFilled: false };
    tile.image = element("img", { alt: "", draggable: "false" });
    tile.canvas = element("canvas", { "aria-hidden": "true" });
    tile.wait = element("span", { class: "wait" });
    tile.picture = tile.open = button("", () => this.open(tile.index), { class: "picture" });
    tile.open.append(tile.image, tile.canvas, tile.wait);
    tile.open.addEventListener("focus", () => { this.focused = tile.index; });
    tile.mark = element("span", { class: "chip" });
    tile.lines = element("ul", { class: "plain lines" });
    tile.again = button("Try again", () => this.retry(picture), { class: "again", hidden: true });
    tile.element = element("li", { class: "tile", data: { id: picture.id } }, tile.open,
      element("div", { class: "text" },
        element("div", { class: "row tight" }, element("b", { class: "file-name grow", title: picture.name }, lastPart(picture.name)), tile.mark,
          this.remove && button("✕", () => this.remove(picture), { class: "quiet remove", "aria-label": `Remove ${picture.name}`, title: "Remove this picture" })),
        tile.lines), tile.again);
    this.place.append(tile.element);
    this.showThumb(tile, picture);
    return tile;
  }

  async showThumb(tile, picture) {
    if (!this.thumbs.has(picture.id)) {
      this.thumbs.set(picture.id, picture.source.blob().then((blob) => thumbnail(blob)));
      this.thumbs.get(picture.id).catch(() => {});
      if (this.thumbs.size > KEPT) this.thumbs.delete(this.thumbs.keys().next().value);
    }
    try {
      const { blob, width, height } = await this.thumbs.get(picture.id);
      if (!this.tiles.has(picture.id)) return;
      tile.url = URL.createObjectURL(blob);
      tile.image.src = tile.url;
      tile.open.classList.toggle("near", Math.abs(RATIO * width / height - 1) < CUT);
      this.drawMasks(tile, picture);
    } catch { tile.open.classList.add("unseen"); }
  }

  fill(tile, picture) {
    tile.isFilled = true;
    const isStale = this.collection.isStale(picture), standings = this.collection.standings(picture);
    const { text, kind } = this.status(picture, isStale);
    tile.mark.textContent = text;
    tile.mark.dataset.kind = kind;
    tile.wait.hidden = picture.state !== "asking";
    tile.again.hidden = picture.state !== "failed";
    tile.element.classList.toggle("stale", isStale);
    const found = standings.filter(({ mask }) => mask).map(({ name }) => name);
    tile.open.setAttribute("aria-label", `${picture.name}: ${picture.state === "done" ? found.join(", ") || "nothing found" : text}. Open.`);
    if (picture.state === "failed") tile.lines.replaceChildren(element("li", { class: "problem", title: picture.problem }, picture.problem));
    else tile.lines.replaceChildren(...standings.slice(0, standings.length > MOST_LINES ? MOST_LINES - 1 : MOST_LINES).map((one) => this.line(one)),
      ...(standings.length > MOST_LINES ? [element("li", { class: "hint" }, `and ${standings.length - MOST_LINES + 1} more classes`)] : []));
    this.drawMasks(tile, picture);
  }

  status(picture, isStale) {
    if (picture.state === "failed") return { text: "failed", kind: "bad" };
    if (picture.state === "asking") return { text: "asking…", kind: "wait" };
    if (picture.state === "waiting") return { text: "waiting", kind: "wait" };
    if (picture.state === "new") return { text: "not asked", kind: "wait" };
    if (isStale) return { text: "stale", kind: "stale" };
    return Object.keys(picture.verdicts).length ? { text: "looked at", kind: "good" } : { text: "answered", kind: "done" };
  }

  line(one) {
    const { name, classId, row, mask } = one;
    const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = this.colourOf(name, classId);
    return element("li", { class: mask ? "" : "absent" }, swatch, element("span", { class: "name" }, name),
      element("span", { class: "verdict" }, wordOf(one)),
      element("span", { class: "number", title: "Score: how certain the mask is, from 0 to 1" }, share(row.score)));
  }

  drawMasks(tile, picture) {
    const { canvas } = tile;
    const { style, opacity, hidden } = this.looks(), first = picture.rows.find((row) => row.width);
    const shown = this.collection.standings(picture).filter(({ name, mask }) => mask && !hidden.has(name));
    const layers = shown.sort((a, b) => a.mask.score - b.mask.score).map(({ name, classId, mask }) => ({ rle: mask.rle, colour: this.colourOf(name, classId) }));
    // Every answer renews the list; masks that look as before are not drawn again.
    const look = [style, opacity, first, ...layers.flatMap(({ rle, colour }) => [rle, colour])];
    if (tile.look?.length === look.length && look.every((part, i) => part === tile.look[i])) return;
    tile.look = look;
    if (!first) { canvas.width = 0; return; }
    const width = Math.min(320, first.width), height = Math.max(1, Math.round(first.height * width / first.width));
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d"), image = context.createImageData(width, height);
    for (const { rle, colour } of layers) tint(image.data, rasterised(rle, width, height), width, height, parts(colour), { style, opacity });
    context.putImageData(image, 0, 0);
  }

  /** Arrow keys go from tile to tile, those out of view included. */
  onKey(event) {
    if (!event.target.classList.contains("picture")) return;
    const { columns, tileHeight } = this.layout();
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    const goal = event.key === "Home" ? 0 : event.key === "End" ? this.shown.length - 1 : this.focused + (by ?? NaN);
    if (!this.shown[goal]) return;
    event.preventDefault();
    this.focus(goal);
  }

  focus(index, { columns, tileHeight } = this.layout()) {
    if (!this.shown[index]) return;
    this.focused = index;
    const top = Math.floor(index / columns) * (tileHeight + GAP) + this.place.getBoundingClientRect().top;
    if (top < 80 || top + tileHeight > innerHeight - 80) scrollBy({ top: top - innerHeight / 3, behavior: "instant" });
    this.draw(false);
    this.tiles.get(this.shown[index].id)?.open.focus({ preventScroll: true });
  }
}
