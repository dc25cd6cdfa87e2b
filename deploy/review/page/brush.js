// A mask that a person mends. Masks lie column after column: element x * height + y is 1 where marked.

const STEPS_BACK = 30;

/** COCO's uncompressed run lengths, unmarked first. */
export function encodeMask(mask, height, width) {
  const counts = [];
  let value = 0, start = 0;
  for (let at = 0; at <= mask.length; at++) {
    if (at === mask.length || mask[at] !== value) {
      counts.push(at - start);
      start = at;
      value = 1 - value;
    }
  }
  return { size: [height, width], counts };
}

export class Brush {
  constructor(mask, height, width) {
    Object.assign(this, { mask: mask.slice(), height, width, value: 1, radius: 10 });
    this.before = [];
  }

  /** Call it before a stroke: undo goes back to here. */
  begin() {
    this.before.push(this.mask.slice());
    if (this.before.length > STEPS_BACK) this.before.shift();
  }

  undo() {
    if (this.before.length) this.mask = this.before.pop();
  }

  /** Marks, or clears, along a line between two places of the picture. */
  line(from, to) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(1, this.radius / 2)));
    for (let step = 0; step <= steps; step++) {
      const part = step / steps;
      this.dab(from.x + (to.x - from.x) * part, from.y + (to.y - from.y) * part);
    }
  }

  dab(x, y) {
    const { radius, height, width } = this;
    for (let column = Math.max(0, Math.ceil(x - radius)); column <= Math.min(width - 1, x + radius); column++) {
      const half = Math.sqrt(Math.max(0, radius ** 2 - (column - x) ** 2));
      const top = Math.max(0, Math.ceil(y - half)), bottom = Math.min(height - 1, Math.floor(y + half));
      if (bottom >= top) this.mask.fill(this.value, column * height + top, column * height + bottom + 1);
    }
  }
}
