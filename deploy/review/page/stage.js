// The picture with a mask on it, at the picture's own size; the style makes it fit.

const VEIL = 0.5;
// A pixel of the picture becomes so many of the screen at most.
const LARGEST = 8;

export class Stage {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
  }

  /** `mask` may be null. The rim is drawn in full colour, the inside as a veil. */
  draw(image, height, width, mask, colour) {
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    this.fit();
    this.context.drawImage(image, 0, 0, width, height);
    if (!mask) return;
    const rgb = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const pixels = this.context.getImageData(0, 0, width, height), data = pixels.data;
    const rim = Math.max(1, Math.round(Math.max(width, height) / 500));
    for (let x = 0; x < width; x++) {
      for (let y = 0; y < height; y++) {
        if (!mask[x * height + y]) continue;
        const isRim = x < rim || y < rim || x >= width - rim || y >= height - rim
          || !mask[(x - rim) * height + y] || !mask[(x + rim) * height + y]
          || !mask[x * height + y - rim] || !mask[x * height + y + rim];
        const share = isRim ? 1 : VEIL, at = 4 * (y * width + x);
        for (let part = 0; part < 3; part++) data[at + part] += (rgb[part] - data[at + part]) * share;
      }
    }
    this.context.putImageData(pixels, 0, 0);
  }

  /** As large as there is room for; small pictures are enlarged, so that a mask's rim can be judged. */
  fit() {
    const { width, height } = this.canvas, isNarrow = matchMedia("(max-width: 56rem)").matches;
    const tall = isNarrow ? innerHeight * 0.5 : Math.max(200, innerHeight - 200);
    const scale = Math.min(this.canvas.parentElement.clientWidth / width, tall / height, LARGEST);
    this.canvas.style.width = `${Math.floor(width * scale)}px`;
    this.canvas.style.height = `${Math.floor(height * scale)}px`;
  }

  /** Where in the picture a pointer is. */
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: (event.clientX - box.left) * this.canvas.width / box.width,
      y: (event.clientY - box.top) * this.canvas.height / box.height,
    };
  }

  /** So many of the picture's pixels are one of the screen's. */
  get scale() {
    return this.canvas.width / Math.max(1, this.canvas.getBoundingClientRect().width);
  }
}
