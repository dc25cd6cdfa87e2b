// Stored sets: opened, saved, renamed, deleted. What somebody else changed meanwhile is never overwritten unasked.
import { call, getJson } from "../core/api.js";
import { button, byId, element } from "../core/dom.js";
import { ask, askText, say, tell } from "../core/messages.js";
import { counted } from "../core/words.js";
import { saveAs } from "./upload.js";

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
const checkName = (name) => (NAME.test(name) ? "" : "Letters, digits, dots, hyphens and underscores; a letter or digit first.");
const pathOf = (name) => `/v1/exemplar-sets/${encodeURIComponent(name)}`;

export const listSets = async () => (await getJson("/v1/exemplar-sets")).exemplar_sets;

export async function openSet(set, name) {
  if (set.isChanged && set.everything().length && !await ask({
    title: "Leave these exemplars?", text: "They are not saved as a set; opening another one replaces them.", yes: "Open the other" })) return;
  set.open(await getJson(`${pathOf(name)}/document`), name);
  say(`${name} is open.`, "good");
}

/** Saves under the name that the set has. */
export async function save(set) {
  if (!set.name) { await saveUnderNewName(set); return; }
  await put(set, set.name, { "If-Match": `"${set.storedDigest}"` });
}

export async function saveUnderNewName(set) {
  const name = await askText({ title: "Save as a set", label: "Name of the set", value: set.name || "", yes: "Save", check: checkName });
  if (name) await put(set, name, { "If-None-Match": "*" });
}

async function put(set, name, condition) {
  try {
    const stored = await saveAs(set, name, condition);
    Object.assign(set, { name, storedDigest: stored.digest });
    set.dispatchEvent(new Event("change"));
    say(`Saved as ${name}.`, "good");
  } catch (problem) {
    if (problem.status !== 412) throw problem;
    await settle(set, name, condition);
  }
}

/** The name is taken, or somebody else changed what it means. */
async function settle(set, name, condition) {
  const current = await getJson(pathOf(name)).catch((problem) => { if (problem.status === 404) return null; throw problem; });
  const held = current ? current.classes.map((one) => `${one.name} (${one.exemplars})`).join(", ") : "";
  const isNew = "If-None-Match" in condition;
  const text = !current ? `${name} was deleted meanwhile.`
    : isNew ? `There is a set ${name} already, with ${held}.`
      : `Somebody changed ${name} since you opened it; it holds ${held} now.`;
  const overwrites = await ask({
    title: isNew ? "The name is taken" : "Changed by somebody else", yes: current ? "Overwrite it" : "Save it again",
    text: `${text} ${current ? "Overwriting replaces that; Cancel leaves it, and you can save under another name." : ""}` });
  if (overwrites) await put(set, name, current ? { "If-Match": `"${current.digest}"` } : { "If-None-Match": "*" });
  else say("Nothing was saved. Save under another name to keep both.", "info", { label: "Save as…", run: () => saveUnderNewName(set).catch(tell) });
}

async function rename(set, { name, digest }) {
  const fresh = await askText({ title: `Rename ${name}`, label: "New name", value: name, yes: "Rename", check: checkName });
  if (!fresh || fresh === name) return;
  const document = await getJson(`${pathOf(name)}/document`);
  const stored = (place) => (place ? { stored: place } : undefined);
  const body = {
    classes: document.classes.map((one) => ({ ...one, exemplars: one.exemplars.map((ref) => ({ ...ref, image: stored(ref.image), mask: stored(ref.mask) })) })),
    negatives: document.negatives.map(stored),
  };
  const headers = { "Content-Type": "application/json", "If-None-Match": "*" };
  try {
    await call("PUT", pathOf(fresh), { body: JSON.stringify(body), headers });
  } catch (problem) {
    throw problem.status === 412 ? new Error(`There is a set ${fresh} already; nothing was renamed.`) : problem;
  }
  await call("DELETE", pathOf(name), { headers: { "If-Match": `"${document.digest}"` } });
  if (set.name === name && set.storedDigest === digest) set.name = fresh;
  set.dispatchEvent(new Event("change"));
  say(`${name} is called ${fresh} now.`, "good");
}

async function remove(set, { name, digest }) {
  if (!await ask({ title: `Delete ${name}?`, text: "Its name is forgotten. Jobs that name its digest can use its content for a while.", yes: "Delete" })) return;
  await call("DELETE", pathOf(name), { headers: { "If-Match": `"${digest}"` } });
  if (set.name === name) Object.assign(set, { name: null, storedDigest: null });
  set.dispatchEvent(new Event("change"));
  say(`${name} is deleted.`, "good");
}

/** The list of stored sets, with what can be done to each. */
export async function showSets(set) {
  const list = element("ul", { class: "plain sets" });
  const dialog = element("dialog", { id: "sets-dialog", class: "wide", "aria-labelledby": "sets-title" },
    element("h2", { id: "sets-title" }, "Stored sets"), list,
    element("div", { class: "row end" }, button("Close", () => dialog.close())));
  const fill = async () => {
    const sets = await listSets();
    list.replaceChildren(...sets.map((one) => item(one)));
    if (!sets.length) list.append(element("li", { class: "hint" }, "No set is stored yet. Save your exemplars as a set to use them again, here and in jobs."));
  };
  const then = (work) => () => work().then(fill).catch((error) => { tell(error); fill().catch(tell); });
  const item = (one) => element("li", { class: "row" },
    element("div", { class: "grow" }, element("b", {}, one.name),
      element("span", { class: "hint block" }, one.classes.map((c) => `${c.name} (${c.exemplars})`).join(", "),
        one.negatives ? `, ${counted(one.negatives, "negative")}` : "")),
    button("Open", () => openSet(set, one.name).then(() => dialog.close()).catch(tell), { class: "primary", "aria-label": `Open ${one.name}` }),
    button("Rename…", then(() => rename(set, one)), { "aria-label": `Rename ${one.name}` }),
    button("Delete…", then(() => remove(set, one)), { "aria-label": `Delete ${one.name}` }));
  await fill();
  byId("dialogs").append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
}
