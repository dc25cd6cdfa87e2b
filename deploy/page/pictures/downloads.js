// Files of what holds now: answers at or above the threshold, and what a person accepted or mended.
import { call } from "../core/api.js";
import { cocoDocument, standings } from "../masks/verdicts.js";

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

/** `kind` is one that `/v1/exports` knows; the endpoint writes the files as a batch job does. */
export async function saveArchive(collection, kind) {
  const pictures = collection.answered.filter(({ rows }) => rows.length).map(({ name, rows, verdicts }) => ({
    name, width: rows[0].width, height: rows[0].height,
    masks: standings(rows, verdicts, collection.threshold).filter(({ mask }) => mask)
      .map(({ name: className, mask }) => ({ class_name: className, counts: mask.rle.counts, score: mask.score })),
  }));
  const body = JSON.stringify({ classes: collection.classNames, pictures });
  const answer = await call("POST", `/v1/exports/${kind}`, { body, headers: { "Content-Type": "application/json" } });
  save(await answer.blob(), `${kind}.zip`);
}
