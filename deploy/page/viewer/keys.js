// The keys of the large view.
import { addShortcuts } from "../core/shortcuts.js";

export function addViewerKeys(viewer) {
  const { looks } = viewer.host, decide = (kind) => () => viewer.judging.current && viewer.judging.decide(viewer.judging.current.name, kind);
  addShortcuts("Large view", () => viewer.isOpen, [
    { key: "ArrowLeft p", does: "previous picture", run: () => viewer.go(-1) },
    { key: "ArrowRight n", does: "next picture", run: () => viewer.go(1) },
    { key: "ArrowUp", does: "class above", run: () => viewer.judging.step(-1) },
    { key: "ArrowDown", does: "class below", run: () => viewer.judging.step(1) },
    { key: "Enter", does: "accept what is open, then the next picture", run: () => viewer.acceptAll() },
    { key: "a", does: "accept the class", run: decide("accepted") },
    { key: "r", does: "reject its mask; of an absent class: it is missing", run: decide("rejected") },
    { key: "x", does: "the class is not there", run: decide("absent") },
    { key: "b", does: "brush", run: () => viewer.take("brush") },
    { key: "e", does: "eraser", run: () => viewer.take("erase") },
    { key: "v", does: "move the picture", run: () => viewer.take("move") },
    { key: "Space", does: "with brush or eraser: put it down, lift it" },
    { key: "Arrows", does: "with brush or eraser: move it" },
    { key: "[", does: "smaller brush", run: () => viewer.resize(0.8) },
    { key: "]", does: "larger brush", run: () => viewer.resize(1.25) },
    { key: "z", does: "undo", run: () => viewer.judging.undo() },
    { key: "u", does: "use as exemplar", run: () => viewer.judging.teach() },
    { key: "m", does: "masks on and off", run: () => { viewer.isBare = !viewer.isBare; viewer.refresh(); } },
    { key: "h", does: "hide or show the class", run: () => viewer.judging.current && looks.toggle(viewer.judging.current.name) },
    { key: "s", does: "filled, outlined or both", run: () => looks.nextStyle() },
    { key: ",", does: "fainter masks", run: () => looks.set({ opacity: Math.max(0.1, looks.opacity - 0.1) }) },
    { key: ".", does: "stronger masks", run: () => looks.set({ opacity: Math.min(1, looks.opacity + 0.1) }) },
    { key: "o", does: "original beside the mask", run: () => { looks.set({ beside: !looks.beside }); viewer.fit(); } },
    { key: "+ =", does: "zoom in", run: () => viewer.stage.zoom(1.25) },
    { key: "-", does: "zoom out", run: () => viewer.stage.zoom(0.8) },
    { key: "0", does: "fit", run: () => viewer.fit() },
    { key: "Escape", does: "close", run: () => viewer.close() },
  ]);
}
