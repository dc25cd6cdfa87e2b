// The page: exemplars on one side, pictures with their masks on the other.
import { call } from "./api.js";
import { classColour, cocoDocument, decodeMask, isShown } from "./masks.js";

const $ = (id) => document.getElementById(id);
const CANVAS_WIDTH = 900, AT_ONCE = 4;
const classes = [];   // {element, files}
const pictures = [];  // {element, file, bitmap, rows}

const css = (colour) => `rgb(${colour.join(" ")})`;
const threshold = () => Number($("threshold").value);
const say = (text) => { $("status").textContent = text; };
const fromTemplate = (id) => $(id).content.firstElementChild.cloneNode(true);

function takesFiles(zone, accept) {
  const input = zone.querySelector("input");
  input.addEventListener("change", () => { accept([...input.files]); input.value = ""; });
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    accept([...event.dataTransfer.files]);
  });
}

/* Exemplars */

function addClass() {
  const one = { element: fromTemplate("class-template"), files: [] };
  const { element } = one;
  classes.push(one);
  takesFiles(element.querySelector(".drop"), (files) => files.forEach((file) => addExemplar(one, file)));
  element.querySelector(".class-name").addEventListener("input", refresh);
  element.querySelector(".remove-class").addEventListener("click", () => {
    classes.splice(classes.indexOf(one), 1);
    element.remove();
    refresh();
    $("add-class").focus();
  });
  $("classes").append(element);
  refresh();
  return one;
}

function addExemplar(one, file) {
  one.files.push(file);
  const item = document.createElement("li");
  const image = document.createElement("img");
  image.src = URL.createObjectURL(file);
  image.alt = file.name;
  const remove = document.createElement("button");
  remove.type = "button";
  remove.textContent = "✕";
  remove.setAttribute("aria-label", `Remove ${file.name}`);
  remove.addEventListener("click", () => {
    one.files.splice(one.files.indexOf(file), 1);
    URL.revokeObjectURL(image.src);
    item.remove();
    refresh();
  });
  item.append(image, remove);
  one.element.querySelector(".thumbs").append(item);
  refresh();
}

const nameOf = (one) => one.element.querySelector(".class-name").value.trim();

function addExemplarsTo(form) {
  for (const one of classes) for (const file of one.files) {
    form.append("exemplar", file);
    form.append("label", nameOf(one));
  }
}

async function listSets(selected) {
  const { exemplar_sets: sets } = await (await call("GET", "/v1/exemplar-sets")).json();
  $("stored").replaceChildren(new Option("the exemplars below", ""), ...sets.map((set) =>
    new Option(`${set.name} (${set.classes.map((one) => one.name).join(", ")})`, set.name, false, set.name === selected)));
  refresh();
}

async function saveSet(event) {
  event.preventDefault();
  const name = $("set-name").value, form = new FormData();
  addExemplarsTo(form);
  try {
    await call("PUT", `/v1/exemplar-sets/${encodeURIComponent(name)}`, form);
    $("save-form").hidden = true;
    await listSets(name);
    say(`Saved as ${name}.`);
  } catch (error) { say(error.message); }
}

/* Pictures */

function addPictures(files) {
  for (const file of files) addPicture(file);
  if (isReady()) annotate();
}

async function addPicture(file) {
  const one = { element: fromTemplate("result-template"), file, bitmap: null, rows: null };
  const { element } = one;
  pictures.push(one);
  element.querySelector(".file-name").textContent = file.name;
  element.querySelector(".file-name").title = file.name;
  element.querySelector("canvas").setAttribute("aria-label", file.name);
  element.querySelector(".download-png").addEventListener("click", () => downloadPng(one));
  element.querySelector(".remove").addEventListener("click", () => {
    pictures.splice(pictures.indexOf(one), 1);
    element.remove();
    refresh();
  });
  $("results").append(element);
  refresh();
  try {
    const full = await createImageBitmap(file);
    const width = Math.min(CANVAS_WIDTH, full.width), height = Math.max(1, Math.round(full.height * width / full.width));
    one.bitmap = await createImageBitmap(full, { resizeWidth: width, resizeHeight: height });
    full.close();
    draw(one);
  } catch { /* the endpoint reads formats that browsers do not: its answer says what it is */ }
}

function requestFor(one, more) {
  const form = new FormData(), stored = $("stored").value;
  form.append("image", one.file);
  if (stored) form.append("exemplars", stored); else addExemplarsTo(form);
  for (const [name, value] of Object.entries(more)) form.append(name, value);
  return form;
}

async function annotate() {
  const waiting = [...pictures], total = waiting.length;
  let done = 0, failed = 0;
  $("annotate").disabled = true;
  say(`Annotating ${total} ${total === 1 ? "picture" : "pictures"}…`);
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let one = waiting.shift(); one; one = waiting.shift()) {
      if (!await annotateOne(one)) failed++;
      say(`${++done} of ${total} annotated.`);
    }
  }));
  say(`${total - failed} of ${total} annotated${failed ? `, ${failed} failed` : ""}.`);
  refresh();
}

/** Asks with a threshold of 0, so that the slider needs no further request. */
async function annotateOne(one) {
  const spinner = one.element.querySelector(".spinner"), problem = one.element.querySelector(".problem");
  spinner.hidden = false;
  problem.hidden = true;
  try {
    one.rows = (await (await call("POST", "/v1/annotate", requestFor(one, { min_score: 0 }))).json()).rows;
    for (const row of one.rows) if (row.status === "mask") row.mask = decodeMask(row.rle);
  } catch (error) {
    one.rows = null;
    problem.textContent = error.message;
    problem.hidden = false;
  }
  spinner.hidden = true;
  draw(one);
  refresh();
  return one.rows !== null;
}

function draw(one) {
  const canvas = one.element.querySelector("canvas"), rows = one.rows || [];
  if (one.bitmap) {
    canvas.width = one.bitmap.width;
    canvas.height = one.bitmap.height;
    const context = canvas.getContext("2d");
    context.drawImage(one.bitmap, 0, 0);
    const shown = rows.filter((row) => isShown(row, threshold())).sort((a, b) => a.score - b.score);
    if (shown.length) {
      const picture = context.getImageData(0, 0, canvas.width, canvas.height);
      for (const row of shown) tint(picture, row);
      context.putImageData(picture, 0, 0);
    }
  }
  one.element.querySelector(".answers").replaceChildren(...rows.map(answerItem));
  const named = rows.filter((row) => isShown(row, threshold())).map((row) => row.class_name);
  canvas.setAttribute("aria-label", one.rows ? `${one.file.name}: ${named.join(", ") || "nothing found"}` : one.file.name);
}

/** Half transparent inside, opaque along the edge. */
function tint(picture, row) {
  const { width, height, data } = picture, [rows, columns] = row.rle.size, colour = classColour(row.class_id);
  const source = (x, y) => x < 0 || y < 0 || x >= width || y >= height ? 0
    : row.mask[Math.floor((x + 0.5) * columns / width) * rows + Math.floor((y + 0.5) * rows / height)];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    if (!source(x, y)) continue;
    const edge = !(source(x - 2, y) && source(x + 2, y) && source(x, y - 2) && source(x, y + 2));
    const weight = edge ? 1 : 0.45, at = 4 * (y * width + x);
    for (let c = 0; c < 3; c++) data[at + c] = data[at + c] * (1 - weight) + colour[c] * weight;
  }
}

function answerItem(row) {
  const item = document.createElement("li"), shown = isShown(row, threshold());
  const part = (className, text) => {
    const span = document.createElement("span");
    span.className = className;
    span.textContent = text;
    item.append(span);
    return span;
  };
  part("swatch", "").style.background = css(classColour(row.class_id));
  part("name", row.class_name);
  part("verdict", shown ? "found" : "absent");
  part("numbers", `score ${row.score.toFixed(2)} · presence ${row.presence.toFixed(2)}`);
  item.classList.toggle("absent", !shown);
  return item;
}

/* Downloads */

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function downloadCoco() {
  const done = pictures.filter((one) => one.rows).map((one) => ({ name: one.file.name, rows: one.rows }));
  const text = JSON.stringify(cocoDocument(done, threshold()));
  download(new Blob([text], { type: "application/json" }), "instances.json");
}

async function downloadPng(one) {
  try {
    const answer = await call("POST", "/v1/annotate", requestFor(one, { min_score: threshold(), format: "png" }));
    download(await answer.blob(), `${one.file.name.replace(/\.[^.]+$/, "")}-mask.png`);
  } catch (error) { say(error.message); }
}

/* What can be done now */

const isReady = () => Boolean($("stored").value) || (classes.some((one) => one.files.length)
  && classes.every((one) => !one.files.length || nameOf(one)));

function refresh() {
  const stored = Boolean($("stored").value);
  $("classes").hidden = $("class-actions").hidden = stored;
  if (stored) $("save-form").hidden = true;
  classes.forEach((one, i) => { one.element.querySelector(".swatch").style.background = css(classColour(i + 1)); });
  $("save-set").disabled = stored || !isReady();
  $("annotate").disabled = !(isReady() && pictures.length);
  $("download-coco").disabled = !pictures.some((one) => one.rows);
  for (const one of pictures) one.element.querySelector(".download-png").disabled = !one.rows;
}

$("add-class").addEventListener("click", () => addClass().element.querySelector(".class-name").focus());
$("save-set").addEventListener("click", () => { $("save-form").hidden = false; $("set-name").focus(); });
$("save-form").addEventListener("submit", saveSet);
$("stored").addEventListener("change", refresh);
$("annotate").addEventListener("click", annotate);
$("download-coco").addEventListener("click", downloadCoco);
$("threshold").addEventListener("input", () => {
  $("threshold-value").value = threshold().toFixed(2);
  pictures.forEach(draw);
});
takesFiles($("pictures-drop"), addPictures);
addClass();
listSets().catch((error) => say(error.message));
