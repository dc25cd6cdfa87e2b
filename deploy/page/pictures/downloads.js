// Files of what holds now: answers at or above the threshold, and what a person accepted or mended.
import { call } from "../core/api.js";
import { cocoDocument, standings } from "../masks/verdicts.js";
import { entriesOf } from "./zip.js";
import { zipped } from "./zip_writer.js";

// Pixels of all masks of one request, so that each is answered in time.
const BATCH_PIXELS = 100_000_000;

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function saveCoco(collection) {
  const text = JSON.stringify(cocoDocument(collection.answered, collection.threshold));
  save(new Blob([text], { type: "application/json" }), "instances.json");
}

/** `kind` is one that `/v1/exports` knows; the endpoint writes the files as a batch job does, a few pictures at a time. */
export async function saveArchive(collection, kind, tellDone) {
  const pictures = collection.answered.filter(({ rows }) => rows.length), taken = new Set(), files = new Map();
  const parts = [...batches(pictures.map((picture) => asExport(picture, collection.threshold, taken)))];
  let done = 0;
  for (const part of parts) {
    tellDone(done, pictures.length);
    const body = JSON.stringify({ classes: collection.classes.map(({ name }) => name), pictures: part });
    const answer = await call("POST", `/v1/exports/${kind}`, { body, headers: { "Content-Type": "application/json" } });
    const archive = await answer.blob();
    if (parts.length === 1) { save(archive, `${kind}.zip`); return; }
    for (const entry of await entriesOf(new File([archive], kind))) files.set(entry.name, await entry.blob());
    done += part.length;
  }
  save(await zipped([...files].map(([name, blob]) => ({ name, blob }))), `${kind}.zip`);
}

function asExport({ name, rows, verdicts }, threshold, taken) {
  let free = name;
  for (let number = 2; taken.has(stem(free)); number++) free = `${stem(name)}-${number}`;
  taken.add(stem(free));
  return {
    name: free, width: rows[0].width, height: rows[0].height,
    masks: standings(rows, verdicts, threshold).filter(({ mask }) => mask)
      .map(({ name: className, mask }) => ({ class_name: className, counts: mask.rle.counts, score: mask.score })),
  };
}

const stem = (name) => name.replace(/\.[A-Za-z0-9]{1,5}$/, "");

function* batches(pictures) {
  let part = [], work = 0;
  for (const picture of pictures) {
    const more = picture.width * picture.height * Math.max(1, picture.masks.length);
    if (part.length && work + more > BATCH_PIXELS) { yield part; part = []; work = 0; }
    part.push(picture);
    work += more;
  }
  if (part.length) yield part;
}
