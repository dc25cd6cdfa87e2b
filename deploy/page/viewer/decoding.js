// Pictures as browsers decode them, turned as they are shown. One at a time, so that large ones do not add up.

let last = Promise.resolve();

function inTurn(work) {
  const turn = last.then(work, work);
  last = turn.catch(() => {});
  return turn;
}

/** The whole picture; whoever takes it closes it. */
export const decoded = (blob) => inTurn(() => createImageBitmap(blob));

/** {blob, width, height, colour}: a small picture of at most `most` pixels on a side, the size and mean colour of the whole. */
export const thumbnail = (blob, most = 320) => inTurn(async () => {
  const whole = await createImageBitmap(blob);
  const { width, height } = whole, scale = Math.min(1, most / Math.max(width, height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(whole, 0, 0, canvas.width, canvas.height);
  whole.close();
  const colour = meanColour(context.getImageData(0, 0, canvas.width, canvas.height));
  return { blob: await canvas.convertToBlob({ type: "image/webp", quality: 0.8 }), width, height, colour };
});

/** Of the middle, where things are that people take pictures of. */
function meanColour({ data, width, height }) {
  const sum = [0, 0, 0];
  let count = 0;
  for (let y = height >> 2; y < height - (height >> 2); y++) for (let x = width >> 2; x < width - (width >> 2); x++) {
    for (let c = 0; c < 3; c++) sum[c] += data[4 * (y * width + x) + c];
    count++;
  }
  return sum.map((value) => value / Math.max(1, count));
}
