// Masks over a picture's pixels: filled, outlined or both. Outlines have a light and a dark line side by side, so that
// they are seen on a picture of any colour.

export const STYLES = ["both", "outline", "fill"];

/**
 * Adds one mask to `pixels`, the transparent RGBA of an overlay. `mask` is row after row, 1 where marked.
 * `thickness` is that of the outline, in places of the overlay.
 */
export function tint(pixels, mask, width, height, colour, { style = "both", opacity = 0.45, thickness = 1 } = {}) {
  const [red, green, blue] = colour, alpha = Math.round(255 * opacity);
  const fills = style !== "outline", outlines = style !== "fill";
  const at = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x];
  const isEdge = (x, y, reach) => !at(x - reach, y) || !at(x + reach, y) || !at(x, y - reach) || !at(x, y + reach);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    if (!mask[y * width + x]) continue;
    const place = 4 * (y * width + x);
    if (outlines && isEdge(x, y, thickness)) put(pixels, place, red, green, blue, 255);
    else if (outlines && isEdge(x, y, thickness + Math.max(1, thickness >> 1))) put(pixels, place, 0, 0, 0, 150);
    else if (fills) put(pixels, place, red, green, blue, alpha);
  }
}

function put(pixels, place, red, green, blue, alpha) {
  pixels[place] = red;
  pixels[place + 1] = green;
  pixels[place + 2] = blue;
  pixels[place + 3] = alpha;
}
