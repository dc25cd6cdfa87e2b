// Batch jobs: submitted from here, watched while they run, with their reports and their nights.
import { call, getJson, keyHeaders, sendJson } from "../core/api.js";
import { button, byId, element, setReason } from "../core/dom.js";
import { ask, say, tell } from "../core/messages.js";
import { counted, duration, moment } from "../core/words.js";
import { listSets } from "../exemplars/stored.js";
import { save } from "../pictures/downloads.js";

const EVERY_MS = 3000;
// How a spec says that there are names and no exemplars.
const BY_NAMES = "names://";
const FORMATS = { coco: "COCO", yolo_seg: "YOLO", label_studio: "Label Studio", labelme: "LabelMe", label_maps: "Label maps", overlay: "Pictures with masks" };
const STATES = { PENDING: "waiting for the cluster", RUNNING: "running", STOPPED: "stopped", SUCCEEDED: "done", FAILED: "failed" };

/** `isShown()`: whether somebody looks; `settings` is what the endpoint can do. */
export function startJobs({ isShown, settings }) {
  const list = byId("jobs-list"), form = byId("job-form");
  let timer = null, signature = "";
  for (const [name, label] of Object.entries(FORMATS)) byId("job-formats").append(element("label", { class: "check" },
    element("input", { type: "checkbox", name: "format", value: name, checked: name === "coco" }), label));
  for (const name of settings.models) byId("job-model").append(new Option(name, name, name === settings.model, name === settings.model));
  const why = settings.jobs ? "" : "This endpoint submits no jobs: whoever runs it sets jobs_address to a Ray cluster, and output_prefixes to where jobs may write.";
  byId("jobs-why").textContent = why;
  byId("jobs-why").hidden = !why;
  if (why) list.append(element("li", { class: "hint" }, "Jobs of a cluster would be listed here."));
  setReason(byId("job-submit"), why);
  setReason(byId("job-spec-submit"), why);

  async function refreshSets() {
    const sets = await listSets(), select = byId("job-set"), before = select.value;
    select.replaceChildren(...sets.map(({ name, classes }) => new Option(`${name} (${classes.map((one) => one.name).join(", ")})`, name)),
      new Option("No exemplars: names alone", BY_NAMES));
    if (before) select.value = before;
    byId("job-set-hint").textContent = sets.length ? "" : "No set is stored yet: save your exemplars as a set on the first page.";
    showNames();
  }

  function showNames() { byId("job-names-field").hidden = byId("job-set").value !== BY_NAMES; }

  async function refresh() {
    clearTimeout(timer);
    if (!isShown() || !settings.jobs) return;
    try {
      const { jobs } = await getJson("/v1/jobs");
      if (signature !== JSON.stringify(jobs)) {
        signature = JSON.stringify(jobs);
        fill(jobs);
      }
    } catch (error) { tell(error); }
    timer = setTimeout(refresh, EVERY_MS);
  }

  function fill(jobs) {
    const open = new Set([...list.querySelectorAll("details[open]")].map((one) => one.dataset.job));
    const focused = document.activeElement?.id;
    list.replaceChildren(...jobs.map((job) => item(job, open.has(job.id))));
    if (!jobs.length) list.append(element("li", { class: "hint" }, "The cluster remembers no job yet."));
    if (focused) byId(focused)?.focus();
  }

  function item(job, isOpen) {
    const { run } = job, isLive = ["PENDING", "RUNNING"].includes(job.status);
    const nights = element("details", { data: { job: job.id }, on: { toggle: () => nights.open && fillNights(nights, job.id) } },
      element("summary", { id: `nights-${job.id}` }, "Its runs"), element("div", {}));
    if (isOpen) nights.open = true;
    const stop = button("Stop…", () => stopJob(job), { id: `stop-${job.id}`, "aria-label": `Stop ${job.id}` });
    setReason(stop, job.output ? "" : "It writes where this endpoint may not: stop it from the command line.");
    return element("li", { class: "card job" },
      element("div", { class: "row" }, element("b", { class: "grow wrap" }, job.id),
        element("span", { class: "chip", data: { kind: { SUCCEEDED: "good", FAILED: "bad" }[job.status] || "wait" } }, STATES[job.status])),
      run && isLive && element("progress", { max: Math.max(1, run.images), value: run.done, "aria-label": `${run.done} of ${run.images} images` }),
      element("p", { class: "hint" }, said(job)),
      job.message && job.status === "FAILED" && element("p", { class: "problem wrap" }, job.message),
      element("div", { class: "row" }, report(job, run), review(job), isLive && stop), job.output && nights);
  }

  function said({ run, started_at: startedAt, ended_at: endedAt, output }) {
    const parts = [];
    if (run) parts.push(`${run.done.toLocaleString("en")} of ${counted(run.images, "image")}, ${counted(run.masks, "mask")}, ${counted(run.errors, "error")}`);
    if (run?.state === "running") parts.push(run.seconds_left === null ? "time left not known yet" : `about ${duration(run.seconds_left)} left`);
    if (run?.state === "silent") parts.push("silent for a while: submit it again to go on");
    if (startedAt) parts.push(`began ${moment(startedAt)}`);
    if (startedAt && endedAt) parts.push(`took ${duration(endedAt - startedAt)}`);
    if (output) parts.push(`writes to ${output}`);
    return parts.join(" · ");
  }

  function report(job, run) {
    const path = `/v1/jobs/${encodeURIComponent(job.id)}/report`, isThere = job.output && run && run.state !== "running";
    const why = !job.output ? "It writes where this endpoint may not read." : isThere ? "" : "The report is written when a run ends.";
    if (isThere && !Object.keys(keyHeaders()).length) return element("a", { class: "button", href: path, target: "_blank", rel: "noopener" }, "Report");
    const made = button("Report", async () => {  // a link cannot carry the key
      try { save(await (await call("GET", path)).blob(), `${job.id}-report.html`); } catch (error) { tell(error); }
    }, { id: `report-${job.id}` });
    setReason(made, why);
    return made;
  }

  function review(job) {
    if (job.output) return element("a", { class: "button", id: `review-${job.id}`, href: `/review?job=${encodeURIComponent(job.id)}` }, "Review answers");
    const made = button("Review answers", () => {}, { id: `review-${job.id}` });
    setReason(made, "It writes where this endpoint may not read: review it with `tlg review`.");
    return made;
  }

  async function fillNights(place, id) {
    try {
      const { runs } = await getJson(`/v1/jobs/${encodeURIComponent(id)}/runs`);
      place.lastChild.replaceChildren(runs.length ? element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Runs of ${id}` }, element("table", {},
        element("thead", {}, element("tr", {}, ...["Began", "State", "Images", "Masks", "Errors", "Took"].map((name) => element("th", { scope: "col" }, name)))),
        element("tbody", {}, ...runs.map((run) => element("tr", {},
          ...[new Date(run.started_at).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" }), run.state, `${run.done} of ${run.images}`, run.masks, run.errors, duration(run.seconds)]
            .map((text) => element("td", {}, String(text)))))))) : element("p", { class: "hint" }, "Nothing ran yet."));
    } catch (error) { tell(error); }
  }

  async function stopJob(job) {
    if (!await ask({ title: `Stop ${job.id}?`, text: "What it committed stays; submitting the same spec again goes on from there.", yes: "Stop it" })) return;
    try {
      const { stopped } = await sendJson("POST", `/v1/jobs/${encodeURIComponent(job.id)}/stop`, {});
      say(stopped ? `${job.id} is asked to stop.` : `${job.id} had ended already.`, "good");
      await refresh();
    } catch (error) { tell(error); }
  }

  async function submit(spec) {
    try {
      const job = await sendJson("POST", "/v1/jobs", spec);
      say(job.status === "SUCCEEDED" ? `${job.id} ran before with the same spec; nothing was started.` : `Submitted as ${job.id}.`, "good");
      await refresh();
    } catch (error) { tell(error); }
  }

  byId("job-set").addEventListener("change", showNames);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const value = (id) => byId(id).value.trim();
    const names = value("job-names").split(",").map((name) => name.trim()).filter(Boolean);
    const isByNames = value("job-set") === BY_NAMES;
    if (isByNames && !names.length) { say("Name a class, or choose a stored set of exemplars.", "bad"); byId("job-names").focus(); return; }
    submit({
      name: value("job-name"), images: { uri: value("job-images"), ...(value("job-pattern") ? { pattern: value("job-pattern") } : {}) },
      exemplars: isByNames ? `${BY_NAMES}${names.join(",")}` : value("job-set"), model: value("job-model"),
      output: { uri: value("job-output"), formats: ["parquet", ...[...form.querySelectorAll("[name=format]:checked")].map((box) => box.value)] },
    });
  });
  byId("job-spec-form").addEventListener("submit", (event) => {
    event.preventDefault();
    let spec;
    try { spec = JSON.parse(byId("job-spec").value); } catch (error) { say(`The spec is not JSON: ${error.message}`, "bad"); return; }
    submit(spec);
  });
  return { refresh: () => { refreshSets().catch(tell); refresh(); } };
}
