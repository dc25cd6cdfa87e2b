// The review: one question after the other, one key each, and every verdict is kept before the next is asked.

import * as api from "./api.js";
import { Brush, encodeMask } from "./brush.js";
import { decodeMask } from "./rle.js";
import { Stage } from "./stage.js";

const byId = (id) => document.getElementById(id);
const stage = new Stage(byId("stage"));
const words = { right: "right", wrong: "wrong", mended: "mended", not_there: "not there", missing: "missing" };
const KEYS = {
  r: "right", w: "wrong", m: "mend", n: "not_there", h: "hide", b: "brush", e: "erase", u: "undo",
  enter: "save", escape: "cancel", arrowleft: "back", arrowright: "skip", "[": "smaller", "]": "larger", "?": "help",
};
let pictures = [], at = 0, step = 0, shown = null, image = null, brush = null, isHidden = false, isBusy = false;
let loading = 0;

const spoken = ({ status, said }) => status !== "mask" && said.verdict === "right" ? "rightly absent" : words[said.verdict];
const masked = () => shown.answers.filter((answer) => answer.status === "mask");
/** The likeliest first. */
const absent = () => shown.answers.filter((answer) => answer.status !== "mask").sort((a, b) => b.presence - a.presence);
/** A question for each mask, and one for all that was answered absent. */
const steps = () => masked().length + (absent().length ? 1 : 0);
const question = () => masked()[step] ?? null;

function reviewer() {
  const name = byId("reviewer").value.trim();
  localStorage.setItem("reviewer", name);
  return name || "somebody";
}

async function show(place, first) {
  at = Math.max(0, Math.min(pictures.length - 1, place));
  const turn = ++loading, { image_id } = pictures[at];
  const [found, bitmap] = await Promise.all([
    api.picture(image_id), api.image(image_id).catch((error) => { fail(error); return null; }),
  ]);
  if (turn !== loading) return;
  [shown, image, brush] = [found, bitmap, null];
  const open = [...masked().map((answer) => !answer.said), ...(absent().length ? [absent().some((a) => !a.said)] : [])];
  step = first === "last" ? steps() - 1 : Math.max(0, open.indexOf(true));
  render();
}

function render() {
  const answer = question(), name = pictures[at].name;
  const done = pictures.filter((picture) => !picture.left).length;
  byId("progress").textContent = `${done} of ${pictures.length} pictures reviewed; this is number ${at + 1}`;
  byId("question").textContent = brush ? `Mend: ${answer.class_name}`
    : answer ? `Is this mask of ${answer.class_name} right?` : "Is anything missing?";
  byId("about").textContent = answer ? `${name}, score ${answer.score.toFixed(2)}` : `${name}: answered absent, or not marked`;
  byId("verdicts").hidden = Boolean(brush) || !answer;
  byId("missing").hidden = Boolean(brush) || Boolean(answer);
  byId("mending").hidden = !brush;
  byId("moves").hidden = Boolean(brush);
  if (!answer) renderClasses();
  const said = (answer ? [answer] : absent()).filter((one) => one.said);
  byId("said").textContent = said.slice(0, 3)
    .map((one) => `${one.class_name}: ${spoken(one)}, says ${one.said.reviewer}`).join("; ");
  byId("stage").classList.toggle("drawing", Boolean(brush));
  byId("stage").setAttribute("aria-label", answer ? `${name} with the mask of ${answer.class_name}` : name);
  paint();
}

function renderClasses() {
  byId("classes").replaceChildren(...absent().map((answer, place) => {
    const label = document.createElement("label"), box = document.createElement("input"), key = document.createElement("kbd");
    Object.assign(box, { type: "checkbox", name: answer.class_name, checked: answer.said?.verdict === "missing" });
    box.addEventListener("change", renderMissing);
    key.textContent = place + 1;
    label.append(box, ` ${answer.class_name} `, ...(place < 9 ? [key] : []));
    return label;
  }));
  renderMissing();
}

const ticked = () => [...byId("classes").querySelectorAll("input")];

function renderMissing() {
  const count = ticked().filter((box) => box.checked).length;
  byId("missing-text").textContent = count ? `${count} missing` : "Nothing is missing";
}

let isPainting = false;

/** Once for each of the screen's pictures, however fast the pointer moves. */
function paintSoon() {
  if (isPainting) return;
  isPainting = true;
  requestAnimationFrame(() => { isPainting = false; paint(); });
}

function paint() {
  if (!image) return;
  const answer = question(), first = answer ?? shown.answers[0];
  const mask = brush ? brush.mask : answer && !isHidden ? decodeMask(answer.said?.rle ?? answer.rle) : null;
  stage.draw(image, first.height, first.width, mask, first.colour);
}

function fail(error) {
  byId("error").textContent = error.message;
}

/** Keeps verdicts, then asks the next question. */
async function keep(verdicts) {
  if (isBusy) return;
  isBusy = true;
  byId("error").textContent = "";
  try {
    const { image_id } = pictures[at], name = reviewer();
    const { others } = await api.judge(image_id, name, verdicts);
    for (const { class_name, verdict, mask } of verdicts) {
      const answer = shown.answers.find((one) => one.class_name === class_name);
      answer.said = { verdict, reviewer: name, rle: mask ? null : undefined };
    }
    pictures[at].left = shown.answers.filter((answer) => !answer.said).length;
    brush = null;
    await next();
    const texts = others.map((one) => `${one.reviewer} said of ${one.class_name}: ${words[one.verdict]}. Both are kept.`);
    if (texts.length) byId("said").textContent = texts.join(" ");
  } catch (error) {
    fail(error);
  } finally {
    isBusy = false;
  }
}

async function next() {
  if (step + 1 < steps()) {
    step += 1;
    render();
  } else {
    ({ pictures } = await api.review());  // others may have reviewed some of them meanwhile
    const later = pictures.findIndex((picture, place) => place > at && picture.left);
    const open = later < 0 ? pictures.findIndex((picture) => picture.left) : later;
    if (open < 0) {
      render();
      await tell();
    } else {
      await show(open);
    }
  }
  byId("question").focus();
}

async function tell() {
  const told = await api.figures();
  const classes = [...Object.values(told.classes), ...(told.all ? [told.all] : [])];
  const head = ["class", "masks", "judged", "precision", "missed"];
  const share = (one) => one ? `${one.value.toFixed(2)} (${one.low.toFixed(2)} to ${one.high.toFixed(2)})` : "–";
  const rows = classes.map((one) => [one.name, one.masks, one.judged_masks + one.judged_absent, share(one.precision), share(one.missed)]);
  byId("told-table").replaceChildren(...[head, ...rows].map((cells, place) => {
    const row = document.createElement("tr");
    row.append(...cells.map((text) => Object.assign(document.createElement(place ? "td" : "th"), { textContent: text })));
    return row;
  }));
  byId("told-remarks").replaceChildren(...[told.lines[0], ...told.remarks].map(
    (text) => Object.assign(document.createElement("p"), { textContent: text })));
  if (!byId("told").open) byId("told").showModal();
}

const said = (verdict) => {
  const { class_name, answer } = question();
  return keep([{ class_name, answer, verdict }]);
};

function keepMissing() {
  const names = new Set(ticked().filter((box) => box.checked).map((box) => box.name));
  return keep(absent().map(({ class_name, answer }) =>
    ({ class_name, answer, verdict: names.has(class_name) ? "missing" : "right" })));
}

function mend() {
  const { rle, height, width } = question();
  brush = new Brush(decodeMask(rle), height, width);
  tool(1);
  render();
}

function tool(value) {
  if (brush) brush.value = value;
  for (const [name, of] of [["brush", 1], ["erase", 0]]) {
    document.querySelector(`[data-do=${name}]`).setAttribute("aria-pressed", String(of === value));
  }
}

function resize(by) {
  byId("size").value = Number(byId("size").value) + by;
}

const actions = {
  right: () => brush ? null : question() ? said("right") : keepMissing(),
  wrong: () => !brush && question() && said("wrong"),
  not_there: () => !brush && question() && said("not_there"),
  mend: () => !brush && question() && mend(),
  missing: keepMissing,
  brush: () => tool(1),
  erase: () => tool(0),
  undo: () => { brush?.undo(); paint(); },
  smaller: () => resize(-4),
  larger: () => resize(4),
  save: () => {
    if (!brush) return question() ? null : keepMissing();
    const { class_name, answer } = question(), mask = encodeMask(brush.mask, brush.height, brush.width);
    return keep([{ class_name, answer, verdict: "mended", mask }]);
  },
  cancel: () => { brush = null; render(); },
  hide: () => {
    isHidden = !isHidden;
    document.querySelector("[data-do=hide]").setAttribute("aria-pressed", String(isHidden));
    paint();
  },
  back: () => brush ? null : step > 0 ? (step -= 1, render()) : at > 0 ? show(at - 1, "last") : null,
  skip: () => brush ? null : step + 1 < steps() ? (step += 1, render()) : show(at + 1),
  help: () => byId("keys").showModal(),
};

const act = (name) => Promise.resolve(actions[name]?.()).catch(fail);

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) act(button.dataset.do);
});
byId("help").addEventListener("click", () => act("help"));
byId("figures").addEventListener("click", () => tell().catch(fail));

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input:not([type=checkbox]):not([type=range])");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const key = event.key.toLowerCase();
  // Enter and the arrows keep their own meaning on buttons and sliders.
  if (key === "enter" && event.target.matches("button")) return;
  if (key.startsWith("arrow") && event.target.matches("input")) return;
  const box = /^[1-9]$/.test(key) && shown && !question() ? ticked()[Number(key) - 1] : null;
  if (box) {
    box.click();
    event.preventDefault();
  } else if (KEYS[key]) {
    act(KEYS[key]);
    event.preventDefault();
  }
});

addEventListener("resize", () => stage.fit());

let last = null;
byId("stage").addEventListener("pointerdown", (event) => {
  if (!brush) return;
  byId("stage").setPointerCapture(event.pointerId);
  brush.radius = Number(byId("size").value) * stage.scale / 2;
  brush.begin();
  last = stage.place(event);
  brush.line(last, last);
  paint();
});
byId("stage").addEventListener("pointermove", (event) => {
  if (!brush || !last) return;
  const place = stage.place(event);
  brush.line(last, place);
  last = place;
  paintSoon();
});
for (const end of ["pointerup", "pointercancel"]) byId("stage").addEventListener(end, () => { last = null; });

async function start() {
  byId("reviewer").value = localStorage.getItem("reviewer") ?? "";
  ({ pictures } = await api.review());
  const open = pictures.findIndex((picture) => picture.left);
  await show(Math.max(0, open));
}
start().catch(fail);
