// Answers of a review as the list and the large view know them, and verdicts as the server keeps them. No page in here.

const OF_MASKS = { right: "accepted", wrong: "rejected", not_there: "absent", mended: "mended" };
const SAID_OF_MASKS = { accepted: "right", rejected: "wrong", absent: "not_there", mended: "mended" };
const SAID_OF_ABSENT = { accepted: "right", absent: "right", rejected: "missing", mended: "missing" };

/** {rows, verdicts} of a picture that the server told of. */
export function shownOf({ answers }) {
  const verdicts = {};
  for (const { class_name: name, status, rle, said } of answers) {
    if (!said) continue;
    const verdict = status === "mask" ? OF_MASKS[said.verdict]
      : said.verdict === "right" ? "absent" : said.rle ? "mended" : "rejected";
    verdicts[name] = { verdict, rle: verdict === "absent" ? null : said.rle || rle, reviewer: said.reviewer };
  }
  return { rows: answers, verdicts };
}

/** What the server is told of a class; `verdict` null takes back what was said. */
export function saidOf(row, verdict) {
  const base = { class_name: row.class_name, answer: row.answer };
  if (!verdict) return { ...base, verdict: "withdrawn" };
  const said = (row.status === "mask" ? SAID_OF_MASKS : SAID_OF_ABSENT)[verdict.verdict];
  return verdict.verdict === "mended" ? { ...base, verdict: said, mask: verdict.rle } : { ...base, verdict: said };
}
