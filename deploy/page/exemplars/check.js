// The exemplar check: what the other exemplars of a class say of each, put beside the picture that it is about.
import { sendJson } from "../core/api.js";
import { digestOf } from "./upload.js";

/** How many exemplars are worth a look; their `warning` says why. */
export async function checkExemplars(set, model) {
  const version = set.version;
  const digest = await digestOf(set);
  const query = model ? `?model=${encodeURIComponent(model)}` : "";
  const { exemplars } = await sendJson("POST", `/v1/exemplar-sets/${digest}/check${query}`, {});
  if (set.version !== version) return null;  // it was changed meanwhile: the warnings are about something else
  let doubtful = 0;
  for (const { class_name: name, position, warning } of exemplars) {
    const exemplar = set.classNamed(name)?.exemplars[position - 1];
    if (exemplar) exemplar.warning = warning;
    doubtful += Boolean(warning);
  }
  set.dispatchEvent(new Event("change"));
  return doubtful;
}
