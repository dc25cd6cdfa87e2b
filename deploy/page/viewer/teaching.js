// A mask as the PNG file that an exemplar carries: marked pixels are white.
import { decodeMask } from "../masks/rle.js";

export async function maskFile(rle) {
  const [height, width] = rle.size, mask = decodeMask(rle), canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d"), rows = Math.max(1, Math.floor(4_000_000 / width));
  for (let top = 0; top < height; top += rows) {  // in strips: a whole picture of pixels would weigh four times the mask
    const image = new ImageData(width, Math.min(rows, height - top));
    for (let y = 0; y < image.height; y++) for (let x = 0; x < width; x++) {
      const value = mask[x * height + top + y] ? 255 : 0, place = 4 * (y * width + x);
      image.data[place] = image.data[place + 1] = image.data[place + 2] = value;
      image.data[place + 3] = 255;
    }
    context.putImageData(image, 0, top);
  }
  return canvas.convertToBlob({ type: "image/png" });
}
