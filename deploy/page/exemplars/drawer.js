// One exemplar, large, to say where its class is: boxes, points, points beside it, brush strokes.
import { button, byId, element, setReason } from "../core/dom.js";
import { tell } from "../core/messages.js";
import { counted } from "../core/words.js";
import { decoded } from "../viewer/decoding.js";
import { Stage } from "../viewer/stage.js";
import { zoomButtons } from "../viewer/zoom.js";
import { KINDS, drawnCount, emptyDrawing } from "./set.js";
import { blobOf } from "./upload.js";

const TOOLS = [
  ["boxes", "Box", "Drag a box around every object of the class."],
  ["points", "Point", "Put a point on every object of the class."],
  ["not_points", "Not here", "Put a point beside the class, where it could be mistaken. Needs a box, point or stroke too."],
  ["scribbles", "Brush", "Draw strokes that lie on the class."],
  ["move", "Move", "Drag to move the picture; the wheel or two fingers zoom."],
];

/** Opens the exemplar; `changed` is called with the drawing after every change. */
export async function openDrawer(exemplar, className, colour, changed) {
  const canvas = element("canvas", { tabindex: 0, class: "stage", role: "application",
    "aria-label": `${exemplar.source.name}. Arrow keys move the pointer, the space bar draws.` });
  const hint = element("p", { class: "hint", id: "drawer-hint", "aria-live": "polite" });
  const count = element("p", { class: "hint", "aria-live": "polite" });
  const tools = TOOLS.map(([kind, label]) => button(label, () => choose(kind), { data: { kind }, "aria-pressed": "false" }));
  const undoButton = button("Undo", () => undo()), clearButton = button("Clear", () => clear());
  const dialog = element("dialog", { id: "drawer", class: "large", "aria-labelledby": "drawer-title" },
    element("div", { class: "row" }, element("h2", { id: "drawer-title", class: "grow" }, className ? `Where is “${className}”?` : "Where is it?"),
      button("Done", () => dialog.close(), { class: "primary" })),
    element("div", { class: "toolbar" },
      element("div", { class: "row tools", role: "toolbar", "aria-label": "Drawing tools" }, ...tools),
      element("div", { class: "row tools" }, undoButton, clearButton), zoomButtons(() => stage)),
    hint, canvas, count);
  byId("dialogs").append(dialog);
  let drawing = structuredClone(exemplar.drawing), current = null;
  const history = [];
  const stage = new Stage(canvas, (context) => paint(context, stage, drawing, current, colour));

  function keep(next) {
    history.push(drawing);
    drawing = next;
    exemplar.drawing = drawing;
    changed(drawing);
    refresh();
  }
  function undo() {
    if (!history.length) return;
    drawing = exemplar.drawing = history.pop();
    changed(drawing);
    refresh();
  }
  function clear() { if (drawnCount(drawing)) keep(emptyDrawing()); }
  function refresh() {
    const said = KINDS.filter((kind) => drawing[kind].length).map((kind) => counted(drawing[kind].length, ...WORDS[kind]));
    count.textContent = said.length ? `Drawn: ${said.join(", ")}.` : "Nothing is drawn: the name alone counts, which is often enough.";
    setReason(undoButton, history.length ? "" : "There is nothing to undo.");
    setReason(clearButton, drawnCount(drawing) ? "" : "Nothing is drawn yet.");
    stage.redraw();
  }
  function choose(kind) {
    for (const tool of tools) tool.setAttribute("aria-pressed", String(tool.dataset.kind === kind));
    hint.textContent = TOOLS.find(([name]) => name === kind)[2];
    stage.tool = kind === "move" ? null : tool(kind);
  }
  function tool(kind) {
    const within = ({ x, y }) => [round(Math.max(0, Math.min(stage.width, x))), round(Math.max(0, Math.min(stage.height, y)))];
    const width = () => Math.max(2, round(Math.max(stage.width, stage.height) / 80));
    return {
      down(point) { current = { kind, points: [within(point)], width: width() }; },
      move(point) { if (kind === "scribbles") current.points.push(within(point)); else current.points[1] = within(point); },
      up(point) {
        if (kind === "scribbles") keep({ ...drawing, scribbles: [...drawing.scribbles, { points: current.points, width: current.width }] });
        else if (kind !== "boxes") keep({ ...drawing, [kind]: [...drawing[kind], within(point)] });
        else {
          const box = boxOf(current.points[0], within(point));
          if (box[2] >= 1 && box[3] >= 1) keep({ ...drawing, boxes: [...drawing.boxes, box] });
        }
        current = null;
      },
      cancel() { current = null; },
    };
  }

  dialog.addEventListener("close", () => { stage.close(); dialog.remove(); });
  dialog.showModal();
  choose("boxes");
  refresh();
  try {
    const bitmap = await decoded(await blobOf(exemplar.source));
    stage.show(bitmap, bitmap.width, bitmap.height);
  } catch {
    tell(new Error(`${exemplar.source.name} cannot be shown: this browser does not read its format.`));
    dialog.close();
  }
}

const WORDS = {
  boxes: ["box", "boxes"], points: ["point"], not_points: ["point beside it", "points beside it"], scribbles: ["stroke"], polygons: ["outline"],
};
const round = (value) => Math.round(value * 10) / 10;
const boxOf = ([x1, y1], [x2, y2]) => [Math.min(x1, x2), Math.min(y1, y2), round(Math.abs(x2 - x1)), round(Math.abs(y2 - y1))];

/** Every line dark below and light above, so that it is seen on any picture. */
function paint(context, stage, drawing, current, colour) {
  const at = ([x, y]) => [x * stage.scale + stage.x, y * stage.scale + stage.y];
  const twice = (width, trace, top = colour) => {
    for (const [style, extra] of [["#000", 3], [top, 0]]) {
      Object.assign(context, { strokeStyle: style, lineWidth: width + extra, lineCap: "round", lineJoin: "round" });
      context.beginPath();
      trace();
      context.stroke();
    }
  };
  const box = ([x, y, width, height]) => twice(2, () => context.rect(...at([x, y]), width * stage.scale, height * stage.scale));
  const line = (points, width, closed) => twice(width, () => {
    points.forEach((point, i) => context[i ? "lineTo" : "moveTo"](...at(point)));
    if (points.length === 1) context.lineTo(at(points[0])[0] + 0.1, at(points[0])[1]);
    if (closed) context.closePath();
  });
  const point = (place, beside) => {
    const [x, y] = at(place);
    twice(3, () => {
      if (beside) { context.moveTo(x - 7, y - 7); context.lineTo(x + 7, y + 7); context.moveTo(x + 7, y - 7); context.lineTo(x - 7, y + 7); }
      else context.arc(x, y, 6, 0, 2 * Math.PI);
    }, beside ? "#fff" : colour);
  };
  drawing.boxes.forEach(box);
  drawing.polygons.forEach((polygon) => line(polygon, 2, true));
  drawing.scribbles.forEach(({ points, width }) => line(points, Math.max(2, width * stage.scale)));
  drawing.points.forEach((place) => point(place, false));
  drawing.not_points.forEach((place) => point(place, true));
  if (!current) return;
  if (current.kind === "boxes" && current.points[1]) box(boxOf(...current.points));
  else if (current.kind === "scribbles") line(current.points, Math.max(2, current.width * stage.scale));
}
