// The masks of one picture over its view on the stage: as fine as the screen, whatever the size of the picture.
import { parts } from "../core/colours.js";
import { tint } from "../masks/tint.js";

/** `layers` are {mask, colour}: a mask column after column, of the picture's size. */
export class Overlay {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d");
  }

  paint(context, stage, layers, { style, opacity }) {
    const left = Math.max(0, Math.floor(stage.x)), top = Math.max(0, Math.floor(stage.y));
    const right = Math.min(Math.ceil(stage.viewWidth), Math.ceil(stage.x + stage.width * stage.scale));
    const bottom = Math.min(Math.ceil(stage.viewHeight), Math.ceil(stage.y + stage.height * stage.scale));
    const width = right - left, height = bottom - top;
    if (width <= 0 || height <= 0 || !layers.length) return;
    Object.assign(this.canvas, { width, height });
    const image = this.context.createImageData(width, height), seen = new Uint8Array(width * height);
    for (const { mask, colour } of layers) {
      sample(mask, stage, left, top, width, height, seen);
      tint(image.data, seen, width, height, parts(colour), { style, opacity, thickness: 2 });
    }
    this.context.putImageData(image, 0, 0);
    context.drawImage(this.canvas, left, top);
  }
}

function sample(mask, stage, left, top, width, height, seen) {
  seen.fill(0);
  for (let x = 0; x < width; x++) {
    const column = Math.floor((left + x + 0.5 - stage.x) / stage.scale);
    if (column < 0 || column >= stage.width) continue;
    const start = column * stage.height;
    for (let y = 0; y < height; y++) {
      const row = Math.floor((top + y + 0.5 - stage.y) / stage.scale);
      if (row >= 0 && row < stage.height) seen[y * width + x] = mask[start + row];
    }
  }
}
