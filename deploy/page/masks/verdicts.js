// What holds for a class in a picture: the answer, unless a person said otherwise. No page in here.
//
// A verdict is {verdict: "accepted" | "rejected" | "absent" | "mended", rle, reviewer}. `rle` is the mask as it was when
// the person looked, so that a verdict holds whatever the model answers later. `reviewer` is there where several review.
import { measured } from "./rle.js";

const VERDICTS = { accepted: "accepted", rejected: "rejected", absent: "not there", mended: "mended" };

/** Whether there is a mask to judge, whatever it scores. */
export const hasMask = (row) => row.status === "mask" && row.area !== 0;

/** What holds for a class, in a word. Where there was no mask to reject, the class itself is missing. */
export function wordOf({ row, verdict, mask }) {
  if (!verdict) return mask ? "found" : "absent";
  return verdict.verdict === "rejected" && !hasMask(row) ? "missing" : VERDICTS[verdict.verdict];
}

export const isFound = (row, threshold) => row.status === "mask" && row.score >= threshold;

/** The mask that holds, or null: {rle, score, verdict}. */
export function standing(row, verdict, threshold) {
  if (verdict) {
    return ["accepted", "mended"].includes(verdict.verdict) && verdict.rle
      ? { rle: verdict.rle, score: row?.score ?? 1, verdict: verdict.verdict } : null;
  }
  return row && isFound(row, threshold) ? { rle: row.rle, score: row.score, verdict: null } : null;
}

/** Every class of a picture with what holds there: [{name, classId, row, verdict, mask}]. */
export function standings(rows, verdicts, threshold) {
  return rows.filter((row) => row.class_name).map((row) => {
    const verdict = verdicts[row.class_name] || null;
    return { name: row.class_name, classId: row.class_id, row, verdict, mask: standing(row, verdict, threshold) };
  });
}

/** How far the least certain answer is from the threshold; what a person judged is certain. */
export function certainty(rows, verdicts, threshold) {
  const open = rows.filter((row) => row.class_name && !verdicts[row.class_name]);
  return open.length ? Math.min(...open.map((row) => Math.abs(row.score - threshold))) : 1;
}

/** A COCO document; `pictures` is a list of {name, rows, verdicts}. */
export function cocoDocument(pictures, threshold) {
  const coco = { info: { description: "Answers of tlg" }, images: [], categories: [], annotations: [] };
  const categories = new Map();
  for (const { name, rows, verdicts } of pictures) {
    if (!rows.length) continue;
    const image = { id: coco.images.length + 1, file_name: name, width: rows[0].width, height: rows[0].height };
    coco.images.push(image);
    for (const { name: className, mask } of standings(rows, verdicts, threshold)) {
      if (!categories.has(className)) categories.set(className, categories.size + 1);
      if (!mask) continue;
      const { area, bbox } = measured(mask.rle);
      if (!area) continue;
      coco.annotations.push({
        id: coco.annotations.length + 1, image_id: image.id, category_id: categories.get(className), bbox, area,
        iscrowd: 0, segmentation: mask.rle, score: mask.score, attributes: { verdict: mask.verdict || "not looked at" },
      });
    }
  }
  coco.categories = [...categories].map(([name, id]) => ({ id, name }));
  return coco;
}
