// A picture on a canvas that can be zoomed, moved and drawn on, with a mouse, a finger, a pen or the keyboard.
//
// A tool is {down(point), move(point), up(point)}; points are pixels of the picture as it is shown. `paint(context,
// stage)` draws over the picture. With `beside` the picture stands on the left as it is, on the right with the rest.

const MOST = 40, STEP = 1.25;

export class Stage {
  constructor(canvas, paint = () => {}) {
    Object.assign(this, { canvas, paint, tool: null, bitmap: null, width: 0, height: 0, beside: false });
    Object.assign(this, { scale: 1, x: 0, y: 0, cursor: null, isFitted: true });
    this.context = canvas.getContext("2d");
    this.pointers = new Map();
    this.isPressed = false;
    this.listen();
    this.observer = new ResizeObserver(() => { if (this.isFitted) this.fit(); else this.redraw(); });
    this.observer.observe(canvas);
  }

  close() {
    this.observer.disconnect();
    this.bitmap?.close?.();
    this.bitmap = null;
  }

  /** `bitmap` may be smaller than the picture of `width` x `height` that it shows. */
  show(bitmap, width, height) {
    this.bitmap?.close?.();
    Object.assign(this, { bitmap, width, height, cursor: null });
    this.fit();
  }

  get viewWidth() { return this.beside ? this.canvas.clientWidth / 2 : this.canvas.clientWidth; }

  get viewHeight() { return this.canvas.clientHeight; }

  fit() {
    if (!this.width) return;
    this.scale = Math.min(this.viewWidth / this.width, this.viewHeight / this.height) * 0.98 || 1;
    this.x = (this.viewWidth - this.width * this.scale) / 2;
    this.y = (this.viewHeight - this.height * this.scale) / 2;
    this.isFitted = true;
    this.redraw();
  }

  zoom(factor, x = this.viewWidth / 2, y = this.viewHeight / 2) {
    const least = 0.5 * Math.min(this.viewWidth / this.width, this.viewHeight / this.height);
    const scale = Math.max(Math.min(least, 1), Math.min(MOST, this.scale * factor)), change = scale / this.scale;
    this.x = x - (x - this.x) * change;
    this.y = y - (y - this.y) * change;
    this.scale = scale;
    this.isFitted = false;
    this.redraw();
  }

  move(across, down) {
    this.x += across;
    this.y += down;
    this.isFitted = false;
    this.redraw();
  }

  toPicture(x, y) { return { x: (x - this.x) / this.scale, y: (y - this.y) / this.scale }; }

  redraw() {
    this.frame ??= requestAnimationFrame(() => { this.frame = null; this.draw(); });
  }

  draw() {
    const { canvas, context } = this, density = Math.min(2, devicePixelRatio);
    const width = Math.round(canvas.clientWidth * density), height = Math.round(canvas.clientHeight * density);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.bitmap) return;
    for (const left of this.beside ? [0, this.viewWidth] : [0]) {
      context.save();
      context.setTransform(density, 0, 0, density, left * density, 0);
      context.beginPath();
      context.rect(0, 0, this.viewWidth, this.viewHeight);
      context.clip();
      context.imageSmoothingEnabled = this.scale < 3;
      context.drawImage(this.bitmap, this.x, this.y, this.width * this.scale, this.height * this.scale);
      if (!this.beside || left) this.paint(context, this);
      this.drawCursor();
      context.restore();
    }
  }

  /** The keyboard's pointer: a cross that arrow keys move. */
  drawCursor() {
    if (!this.cursor) return;
    const x = this.cursor.x * this.scale + this.x, y = this.cursor.y * this.scale + this.y, { context } = this;
    for (const [colour, width] of [["#000", 4], ["#fff", 2]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: width });
      context.beginPath();
      context.moveTo(x - 12, y); context.lineTo(x + 12, y);
      context.moveTo(x, y - 12); context.lineTo(x, y + 12);
      context.stroke();
    }
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.onDown(event));
    canvas.addEventListener("pointermove", (event) => this.onMove(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.onUp(event));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { x, y } = this.place(event);
      this.zoom(event.deltaY < 0 ? STEP : 1 / STEP, x, y);
    }, { passive: false });
    canvas.addEventListener("dblclick", () => { if (!this.tool) this.fit(); });
    canvas.addEventListener("keydown", (event) => this.onKey(event));
    canvas.addEventListener("blur", () => { this.cursor = null; this.redraw(); });
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect(), x = event.clientX - box.left;
    return { x: this.beside && x > this.viewWidth ? x - this.viewWidth : x, y: event.clientY - box.top };
  }

  onDown(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.place(event));
    if (this.pointers.size > 1 && this.isPressed) { this.isPressed = false; this.tool?.cancel?.(); }
    // The middle and the right button move the picture whatever the tool.
    if (this.pointers.size === 1 && this.tool && event.button === 0) {
      this.isPressed = true;
      const { x, y } = this.place(event);
      this.tool.down(this.toPicture(x, y));
      this.redraw();
    }
  }

  onMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.place(event);
    if (this.isPressed) this.tool.move(this.toPicture(now.x, now.y));
    else if (this.pointers.size === 2) this.pinch(event.pointerId, before, now);
    else this.move(now.x - before.x, now.y - before.y);
    this.pointers.set(event.pointerId, now);
    this.redraw();
  }

  pinch(id, before, now) {
    const other = [...this.pointers].find(([known]) => known !== id)[1];
    const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
    this.zoom(apart(now) / apart(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
    this.move((now.x - before.x) / 2, (now.y - before.y) / 2);
  }

  onUp(event) {
    if (this.isPressed && this.pointers.has(event.pointerId)) {
      this.isPressed = false;
      const { x, y } = this.place(event);
      this.tool.up(this.toPicture(x, y));
    }
    this.pointers.delete(event.pointerId);
    this.redraw();
  }

  /** With a tool, arrow keys move the cross and the space bar puts the tool down and lifts it; else they move the picture. */
  onKey(event) {
    const step = (event.shiftKey ? 40 : 8), by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (by && !this.tool) {
      if (!event.shiftKey) return;
      this.move(-by[0] * step, -by[1] * step);
    } else if (by) {
      this.cursor ??= { x: this.width / 2, y: this.height / 2 };
      this.cursor.x = Math.max(0, Math.min(this.width, this.cursor.x + by[0] * step / this.scale));
      this.cursor.y = Math.max(0, Math.min(this.height, this.cursor.y + by[1] * step / this.scale));
      if (this.isPressed) this.tool.move({ ...this.cursor });
    } else if (event.key === " " && this.tool) {
      this.cursor ??= { x: this.width / 2, y: this.height / 2 };
      this.isPressed = !this.isPressed;
      this.tool[this.isPressed ? "down" : "up"]({ ...this.cursor });
    } else return;
    event.preventDefault();
    event.stopPropagation();
    this.redraw();
  }
}
