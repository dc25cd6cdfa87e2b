// COCO's compressed run lengths, and what the page makes of answer rows. No page in here: it runs anywhere.

/** Lengths of the alternating runs in `counts`, unmarked first, down the columns. */
export function runLengths(counts) {
  const runs = [];
  for (let at = 0; at < counts.length;) {
    let value = 0, shift = 0, code;
    do {
      code = counts.charCodeAt(at++) - 48;
      value |= (code & 0x1f) << shift;
      shift += 5;
    } while (code & 0x20);
    if (code & 0x10) value |= -1 << shift;
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

/** The mask, column after column: element x * height + y is 1 where marked. */
export function decodeMask(rle) {
  const mask = new Uint8Array(rle.size[0] * rle.size[1]);
  let at = 0;
  runLengths(rle.counts).forEach((length, i) => {
    if (i % 2) mask.fill(1, at, at + length);
    at += length;
  });
  return mask;
}

export const isShown = (row, threshold) => row.status === "mask" && row.score >= threshold;

/** A COCO document of the rows at or above the threshold; `pictures` is a list of {name, rows}. */
export function cocoDocument(pictures, threshold) {
  const coco = { images: [], categories: [], annotations: [] };
  const categories = new Map();
  for (const { name, rows } of pictures) {
    if (!rows.length) continue;
    const image = { id: coco.images.length + 1, file_name: name, width: rows[0].width, height: rows[0].height };
    coco.images.push(image);
    for (const row of rows) {
      categories.set(row.class_id, row.class_name);
      if (!isShown(row, threshold)) continue;
      coco.annotations.push({
        id: coco.annotations.length + 1, image_id: image.id, category_id: row.class_id, bbox: row.bbox,
        area: row.area, iscrowd: 0, segmentation: row.rle, score: row.score,
      });
    }
  }
  coco.categories = [...categories].sort(([a], [b]) => a - b).map(([id, name]) => ({ id, name }));
  return coco;
}

/** Well-separated colours, the same as in the endpoint's indexed PNGs. */
export function classColour(classId) {
  const hue = (((classId - 1) * 0.618) % 1) * 6, value = 0.95 * 255, low = value * 0.25;
  const part = (n) => { const k = (n + hue) % 6; return Math.round(value - (value - low) * Math.max(0, Math.min(k, 4 - k, 1))); };
  return [part(5), part(3), part(1)];
}
