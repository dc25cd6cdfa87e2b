// The review of a batch output, of `tlg review` and of an endpoint's jobs: the same list and the same large view as on
// the page of pictures; verdicts are kept by the server.
import { colourOf as colourAt } from "../core/colours.js";
import { byId, setReason } from "../core/dom.js";
import { readSetting, writeSetting } from "../core/memory.js";
import { say, startMessages, tell } from "../core/messages.js";
import { addShortcuts, showShortcuts, startShortcuts } from "../core/shortcuts.js";
import { counted } from "../core/words.js";
import { Collection } from "../pictures/collection.js";
import { startControls } from "../pictures/controls.js";
import { Grid } from "../pictures/grid.js";
import { Looks } from "../viewer/looks.js";
import { Viewer } from "../viewer/viewer.js";
import { showFigures } from "./figures.js";
import { Session } from "./session.js";

startMessages();
startShortcuts();
// Where other machines may look, the address carries the key behind the #; it stays in this tab.
const key = new URLSearchParams(location.hash.slice(1)).get("key");
if (key) sessionStorage.setItem("tlg-key", key);
const job = new URLSearchParams(location.search).get("job");
const base = job ? `/v1/jobs/${encodeURIComponent(job)}/review` : "/api/review";
for (const id of ["to-annotate", "to-jobs"]) byId(id).hidden = !job;

const NOBODY_REMEMBERS = { read: async () => undefined, write: () => {} };
const collection = new Collection(NOBODY_REMEMBERS), looks = new Looks();
collection.threshold = 0;  // every answer is looked at, whatever it scores
const colourOf = (name, number) => colourAt(number);
const reviewer = () => byId("reviewer").value.trim();
const session = new Session(base, collection, reviewer);
const grid = new Grid(byId("results"), collection, {
  looks: () => looks, colourOf, open: (index) => open(grid.shown[index]), retry: (picture) => session.load(picture),
});
const viewer = new Viewer({
  pictures: () => grid.shown, looks, colourOf, threshold: () => collection.threshold,
  judge: (picture, name, verdict) => session.judge(picture, name, verdict),
  finished: () => { viewer.close(); finish().catch(tell); },
  closed: (picture) => { grid.refresh(); grid.focus(Math.max(0, grid.shown.indexOf(picture))); },
});

const isOpen = ({ rows, verdicts }) => rows.some(({ class_name: name }) => !verdicts[name]);
const left = () => collection.pictures.filter((picture) => picture.state !== "failed" && isOpen(picture));

function open(picture) {
  if (!byId("start-form").reportValidity()) return;
  writeSetting("reviewer", reviewer());
  viewer.open(Math.max(0, grid.shown.indexOf(picture)));
}

/** The first picture with something to judge, else what follows. */
async function goOn() {
  const [next] = left();
  if (!next) { await finish(); return; }
  if (!grid.shown.includes(next)) { collection.state = byId("filter-state").value = "all"; collection.className = byId("filter-class").value = ""; grid.refresh(); }
  open(next);
}

async function finish() {
  if (session.sending) await session.sending;
  if (left().length) { say(`${counted(left().length, "picture")} still to look at.`, "info", { label: "Go on", run: () => goOn().catch(tell) }); return; }
  await showFigures(base);
}

function refresh() {
  grid.refresh();
  refreshControls();
  const all = collection.pictures.length, done = all - left().length;
  byId("progress-bar").max = Math.max(1, all);
  byId("progress-bar").value = done;
  byId("progress-text").textContent = `${done} of ${counted(all, "picture")} reviewed`;
  byId("start").textContent = !all || done === 0 ? "Start" : done < all ? "Go on" : "All are reviewed";
  setReason(byId("start"), !all ? "The pictures are still on their way." : done < all ? "" : "Every picture is reviewed; press a picture to look again.");
}

const refreshControls = startControls(collection, { looks, colourOf, shown: () => grid.shown, states: ["all", "open", "judged", "mended", "found", "nothing", "failed"] });
byId("reviewer").value = readSetting("reviewer", "");
byId("start-form").addEventListener("submit", (event) => { event.preventDefault(); goOn().catch(tell); });
byId("figures").addEventListener("click", () => showFigures(base).catch(tell));
byId("show-shortcuts").addEventListener("click", showShortcuts);
const isFree = () => !viewer.isOpen && !document.querySelector("dialog[open]");
addShortcuts("Review", isFree, [
  { key: "g", does: "go on with the review", run: () => byId("start").click() },
  { key: "f", does: "go to the pictures", run: () => grid.focus(grid.focused) },
  { key: "c", does: "choose the order and what is shown", run: () => byId("sort").focus() },
  { key: "l", does: "the least certain first", run: () => { byId("sort").value = collection.sort = "uncertain"; collection.changed(); } },
  { key: "w", does: "figures so far: what the review says of all answers", run: () => byId("figures").click() },
]);

const WORDS = { right: "right", wrong: "wrong", mended: "mended", not_there: "not there", missing: "missing" };
session.addEventListener("others", ({ detail: { picture, others } }) => say(
  others.map((one) => `${picture.name}: ${one.reviewer} said of ${one.class_name}: ${WORDS[one.verdict]}. Both are kept, the later one counts.`).join(" ")));
session.addEventListener("problem", ({ detail: { picture, error } }) => say(`${picture.name}: not kept. ${error.message}`, "bad"));
session.addEventListener("renewed", ({ detail }) => viewer.renew(detail));
session.addEventListener("replaced", () => say("These pictures were answered again since this page was opened.", "info", { label: "Load the page again", run: () => location.reload() }));
looks.addEventListener("change", refresh);
collection.addEventListener("change", refresh);
addEventListener("beforeunload", (event) => { if (session.isBusy) event.preventDefault(); });
refresh();
(reviewer() ? byId("start") : byId("reviewer")).focus();
try {
  byId("review-output").textContent = `A sample of ${await session.open()}`;
} catch (error) { tell(error); }
refresh();
document.body.dataset.ready = "yes";
