// A class and pictures that are drawn here, to see what the page does without looking for files.

const WIDTH = 480, HEIGHT = 320, EXEMPLARS = 3, PICTURES = 6;

/** {name, exemplars, pictures}: sources of a lantern in the dusk; in the last two pictures there is none. */
export async function sample() {
  const sources = await Promise.all(Array.from({ length: EXEMPLARS + PICTURES }, async (_, i) => {
    const blob = await drawn(i, i < EXEMPLARS + PICTURES - 2), name = `sample-${i + 1}.png`;
    return { name, size: blob.size, modified: 0, blob };
  }));
  return {
    name: "paper lantern",
    exemplars: sources.slice(0, EXEMPLARS),
    pictures: sources.slice(EXEMPLARS).map((source) => ({ ...source, blob: async () => source.blob })),
  };
}

function drawn(number, hasLantern) {
  const canvas = new OffscreenCanvas(WIDTH, HEIGHT), context = canvas.getContext("2d");
  const sky = context.createLinearGradient(0, 0, 0, HEIGHT);
  sky.addColorStop(0, "#16243d");
  sky.addColorStop(1, "#3d4a3a");
  context.fillStyle = sky;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  for (let i = 0; i < 9; i++) {  // hills and posts, so that there is something else to see
    context.fillStyle = ["#22361f", "#2b3b2a", "#4a4f57"][(i + number) % 3];
    context.beginPath();
    context.ellipse((i * 97 + number * 53) % WIDTH, HEIGHT, 90, 30 + (i * 37 + number * 11) % 70, 0, 0, 2 * Math.PI);
    context.fill();
  }
  if (hasLantern) {
    const x = 90 + (number * 131) % (WIDTH - 180), y = 90 + (number * 67) % (HEIGHT - 190), radius = 38 + (number * 17) % 24;
    context.fillStyle = "#f08c2e";
    context.beginPath();
    context.ellipse(x, y, radius, radius * 1.2, 0, 0, 2 * Math.PI);
    context.fill();
    context.strokeStyle = "#c7641a";
    context.lineWidth = 2;
    for (let line = -2; line <= 2; line++) {
      context.beginPath();
      context.ellipse(x, y, Math.abs(line) * radius / 3 + 1, radius * 1.2, 0, 0, 2 * Math.PI);
      context.stroke();
    }
  }
  return canvas.convertToBlob({ type: "image/png" });
}
