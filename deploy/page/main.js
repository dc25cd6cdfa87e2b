// The page: puts its parts together. Each part knows only what it is given here.
import { getJson } from "./core/api.js";
import { byId, setReason } from "./core/dom.js";
import { ask, hush, say, startMessages, tell } from "./core/messages.js";
import { addShortcuts, showShortcuts, startShortcuts } from "./core/shortcuts.js";
import { counted, duration, lastPart, share } from "./core/words.js";
import { startPanel } from "./exemplars/panel.js";
import { sample } from "./exemplars/sample.js";
import { ExemplarSet } from "./exemplars/set.js";
import { digestOf } from "./exemplars/upload.js";
import { startJobs } from "./jobs/jobs.js";
import { Collection } from "./pictures/collection.js";
import { startControls } from "./pictures/controls.js";
import { saveArchive, saveCoco } from "./pictures/downloads.js";
import { Grid } from "./pictures/grid.js";
import { exemplarSources, sourcesAt, sourcesOf, startIntake } from "./pictures/intake.js";
import { Queue, askedOf } from "./pictures/queue.js";
import { drawSummary } from "./pictures/summary.js";
import { Looks } from "./viewer/looks.js";
import { maskFile } from "./viewer/teaching.js";
import { Viewer } from "./viewer/viewer.js";

startMessages();
startShortcuts();
const settings = await getJson("/v1/settings").catch((error) => {
  tell(error);
  return { model: "", models: [], uri_prefixes: true, jobs: false };
});
const set = new ExemplarSet(), collection = new Collection(), looks = new Looks();
const model = () => byId("model").value;
const queue = new Queue(collection, { digest: () => digestOf(set), model });
const colourOf = (name, number) => set.colourOf(name, number);
const grid = new Grid(byId("results"), collection, {
  looks: () => looks, colourOf, open: (index) => viewer.open(index), retry: (picture) => askFor([picture]), remove: (picture) => collection.remove(picture),
});
const viewer = new Viewer({
  pictures: () => grid.shown, looks, colourOf, threshold: () => collection.threshold,
  judge: (picture, name, verdict) => collection.judge(picture, name, verdict),
  canTeach: () => (set.classes.some((one) => one.name.trim()) ? "" : "Name a class first."),
  teach: (picture, name, rle) => useAsExemplar(picture, name, rle).catch(tell),
  closed: (picture) => { grid.refresh(); grid.focus(Math.max(0, grid.shown.indexOf(picture))); },
});

/* Asking */

function askFor(pictures) {
  if (set.missing) { say(set.missing); return; }
  queue.ask(pictures).catch(tell);
}

function askForNew() {
  const wanted = [...collection.unasked, ...collection.stale];
  if (wanted.length) askFor(wanted);
  else say(whyNothingToAsk());
}

function whyNothingToAsk() {
  if (!collection.pictures.length) return "Add pictures first.";
  if (queue.isBusy) return "The pictures are being annotated.";
  return collection.failed.length ? "Only failed pictures are left: try those again." : "Every picture has its answer.";
}

async function add(sources) {
  if (!sources.length) { say("There were no pictures in it.", "bad"); return; }
  const added = collection.add(sources);
  if (!set.missing) askFor(added);
  else say(`${counted(added.length, "picture")} added. ${set.missing}`);
}

const addFiles = (files) => sourcesOf(files).then(add).catch(tell);

async function useAsExemplar(picture, name, rle) {
  const one = set.classNamed(name) || set.addClass(name);
  const [blob, mask] = [await picture.source.blob(), await maskFile(rle)];
  set.add(one, { blob, name: lastPart(picture.name) }, { mask: { blob: mask, name: `${lastPart(picture.name)} mask.png` } });
  say(`${lastPart(picture.name)} is an exemplar of ${name} now, with its mask. The answers so far are stale.`, "good", { label: "Ask again", run: askForNew });
}

/* What is shown */

function refresh() {
  collection.asked = set.digest ? askedOf(set.digest, model()) : null;
  grid.refresh();
  drawSummary(byId("summary"), collection, colourOf);
  const unasked = collection.unasked.length, stale = collection.stale.length, failed = collection.failed.length, answered = collection.answered.length;
  const wanted = unasked + stale;
  const askButton = byId("annotate");
  askButton.textContent = stale && !unasked ? `Ask again (${stale} stale)` : wanted ? `Annotate ${counted(wanted, "picture")}` : "Annotate";
  const whyNot = set.missing || (wanted ? "" : whyNothingToAsk());
  setReason(askButton, whyNot);
  byId("annotate-why").textContent = whyNot;
  byId("annotate-why").hidden = queue.isBusy;  // the bar in its place says more
  byId("stale").hidden = !stale || queue.isBusy;
  byId("stale-text").textContent = `${counted(stale, "answer is", "answers are")} stale: the exemplars, a name or the model changed since.`;
  byId("retry").hidden = !failed;
  byId("retry").textContent = `Try ${failed} failed again`;
  const whyNoFile = answered ? "" : "There is no answer to download yet.";
  for (const id of ["download-coco", "download-yolo", "download-maps"]) setReason(byId(id), whyNoFile);
  setReason(byId("clear"), collection.pictures.length ? "" : "There are no pictures.");
  byId("empty").hidden = collection.pictures.length > 0;
  byId("controls").hidden = !collection.pictures.length;
  byId("pictures-panel").classList.toggle("filled", collection.pictures.length > 0);
  refreshControls();
}

function showProgress() {
  const { done, total, failures, secondsLeft } = queue.progress, place = byId("progress");
  place.hidden = !queue.isBusy;
  byId("progress-bar").max = Math.max(1, total);
  byId("progress-bar").value = done;
  const left = secondsLeft === null ? "time left not known yet" : `about ${duration(secondsLeft)} left`;
  byId("progress-text").textContent = `${done} of ${total} annotated${failures ? `, ${failures} failed` : ""}, ${left}`;
  if (wasBusy && !queue.isBusy) {
    const text = done < total ? `Cancelled: ${done} of ${total} annotated.` : `${total - failures} of ${total} annotated${failures ? `, ${failures} failed` : ""}.`;
    say(text, failures ? "bad" : "good", failures ? { label: "Try again", run: () => askFor(collection.failed) } : null);
  }
  wasBusy = queue.isBusy;
  refresh();
}
let wasBusy = false;

/* Controls */

const refreshControls = startControls(collection, { looks, colourOf, shown: () => grid.shown });
for (const name of settings.models) byId("model").append(new Option(name, name, name === settings.model, name === settings.model));
byId("model-field").hidden = settings.models.length < 2;
byId("model").addEventListener("change", refresh);
byId("threshold").addEventListener("input", () => {
  collection.threshold = Number(byId("threshold").value);
  byId("threshold-value").value = share(collection.threshold);
  collection.changed();
});
byId("annotate").addEventListener("click", askForNew);
byId("ask-again").addEventListener("click", askForNew);
byId("retry").addEventListener("click", () => askFor(collection.failed));
byId("cancel").addEventListener("click", () => queue.cancel());
byId("download-coco").addEventListener("click", () => saveCoco(collection));
for (const [id, kind] of [["download-yolo", "yolo_seg"], ["download-maps", "label_maps"]]) {
  const tellDone = (done, total) => say(`Writing files: ${done} of ${counted(total, "picture")}…`);
  byId(id).addEventListener("click", () => saveArchive(collection, kind, tellDone).then(() => say(`${kind}.zip is ready.`, "good")).catch(tell));
}
byId("clear").addEventListener("click", async () => {
  if (await ask({ title: "Remove all pictures?", text: "Their files stay where they are. Verdicts are remembered in this browser, for when the same files come back.", yes: "Remove all" })) collection.clear();
});
for (const id of ["pictures", "folder"]) byId(id).addEventListener("change", (event) => { addFiles([...event.target.files]); event.target.value = ""; });
byId("pictures-drop").accept = addFiles;
setReason(byId("add-address"), settings.uri_prefixes ? "" : "This endpoint fetches no addresses: whoever runs it sets uri_prefixes.");
byId("address-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const address = byId("address").value.trim();
  if (address) sourcesAt(address).then(add).then(() => { byId("address").value = ""; }).catch(tell);
});
byId("sample").addEventListener("click", async () => {
  const { name, exemplars, pictures } = await sample();
  const one = set.classes.find((other) => !other.name && !other.exemplars.length) || set.addClass();
  one.name = name;
  for (const source of exemplars) set.add(one, source);
  add(pictures).catch(tell);
});
byId("show-shortcuts").addEventListener("click", showShortcuts);

const isFree = () => !viewer.isOpen && !document.querySelector("dialog[open]") && byId("annotate-view").hidden === false;
addShortcuts("Pictures", isFree, [
  { key: "g", does: "annotate what is new or stale", run: () => byId("annotate").click() },
  { key: "f", does: "go to the pictures", run: () => grid.focus(grid.focused) },
  { key: "c", does: "choose the order and what is shown", run: () => byId("sort").focus() },
  { key: "l", does: "the least certain first", run: () => { byId("sort").value = collection.sort = "uncertain"; collection.changed(); } },
  { key: "s", does: "filled, outlined or both", run: () => looks.nextStyle() },
  { key: "Escape", does: "cancel what is asked", run: () => queue.cancel() },
]);

/* Views */

function showView() {
  const isJobs = location.hash === "#jobs";
  hush();
  byId("annotate-view").hidden = isJobs;
  byId("jobs-view").hidden = !isJobs;
  for (const [id, isHere] of [["to-annotate", !isJobs], ["to-jobs", isJobs]]) {
    if (isHere) byId(id).setAttribute("aria-current", "page"); else byId(id).removeAttribute("aria-current");
  }
  if (isJobs) jobs.refresh(); else grid.refresh();
}

const jobs = startJobs({ isShown: () => location.hash === "#jobs", settings });
startPanel(set, { model, toSources: exemplarSources });
startIntake(addFiles);
set.addEventListener("change", refresh);
looks.addEventListener("change", refresh);
collection.addEventListener("change", refresh);
queue.addEventListener("change", showProgress);
addEventListener("hashchange", showView);
// Verdicts are remembered, pictures and exemplars are not.
addEventListener("beforeunload", (event) => { if (queue.isBusy || (set.isChanged && set.everything().length > 0)) event.preventDefault(); });
refresh();
showView();
document.body.dataset.ready = "yes";
