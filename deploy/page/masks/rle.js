// COCO's compressed run lengths: {size: [height, width], counts}. No page in here: it runs anywhere.

/** Lengths of the alternating runs, unmarked first, down the columns. */
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

/** The text of run lengths, as `runLengths` reads it. */
export function countsOf(runs) {
  let counts = "";
  runs.forEach((run, i) => {
    let value = i > 2 ? run - runs[i - 2] : run, isMore = true;
    while (isMore) {
      let code = value & 0x1f;
      value >>= 5;
      isMore = code & 0x10 ? value !== -1 : value !== 0;
      if (isMore) code |= 0x20;
      counts += String.fromCharCode(code + 48);
    }
  });
  return counts;
}

/** The mask, column after column: element x * height + y is 1 where marked. */
export function decodeMask({ size: [height, width], counts }) {
  const mask = new Uint8Array(height * width);
  eachRun(counts, (start, end) => mask.fill(1, start, end));
  return mask;
}

export function encodeMask(mask, size) {
  const runs = [];
  let marked = 0, start = 0;
  for (let at = 0; at <= mask.length; at++) {
    if (at < mask.length && mask[at] === marked) continue;
    runs.push(at - start);
    start = at;
    marked = 1 - marked;
  }
  return { size, counts: countsOf(runs) };
}

/** Area and box [x, y, width, height] of what is marked; a box of zeros where nothing is. */
export function measured({ size: [height], counts }) {
  let area = 0, left = Infinity, right = -1, top = Infinity, bottom = -1;
  eachRun(counts, (start, end) => {
    area += end - start;
    const first = Math.floor(start / height), last = Math.floor((end - 1) / height);
    left = Math.min(left, first);
    right = Math.max(right, last);
    const isWhole = last > first;  // over the end of a column, so from the lowest row to the highest
    top = Math.min(top, isWhole ? 0 : start - first * height);
    bottom = Math.max(bottom, isWhole ? height - 1 : end - 1 - last * height);
  });
  return area ? { area, bbox: [left, top, right - left + 1, bottom - top + 1] } : { area: 0, bbox: [0, 0, 0, 0] };
}

/** The mask at another size, row after row, from the runs alone: a mask of 12 megapixels is never unpacked for a thumbnail. */
export function rasterised({ size: [height, width], counts }, toWidth, toHeight) {
  const raster = new Uint8Array(toWidth * toHeight);
  const columns = Array.from({ length: width }, () => null);
  for (let x = 0; x < toWidth; x++) {
    const source = Math.min(width - 1, Math.floor((x + 0.5) * width / toWidth));
    (columns[source] ??= []).push(x);
  }
  const rowOf = (y) => Math.max(0, Math.min(toHeight, Math.ceil(y * toHeight / height - 0.5)));
  eachRun(counts, (start, end) => {
    const first = Math.floor(start / height), last = Math.floor((end - 1) / height);
    for (let column = first; column <= last; column++) {
      if (!columns[column]) continue;
      const from = rowOf(column === first ? start - first * height : 0);
      const to = rowOf(column === last ? end - last * height : height);
      for (const x of columns[column]) for (let y = from; y < to; y++) raster[y * toWidth + x] = 1;
    }
  });
  return raster;
}

function eachRun(counts, take) {
  let at = 0;
  runLengths(counts).forEach((length, i) => {
    if (i % 2 && length) take(at, at + length);
    at += length;
  });
}
