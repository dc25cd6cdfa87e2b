// Brush and eraser on a mask, as a tool of the stage. The mask is column after column.

/** `session` gives {mask, height, width} of the class in hand and hears `begun()` and `ended()` of each stroke. */
export function brush(session, value, radius) {
  let last = null;
  const stamp = ({ x, y }) => {
    const { mask, width, height } = session.target(), r = radius();
    for (let column = Math.max(0, Math.ceil(x - r - 0.5)); column <= Math.min(width - 1, x + r - 0.5); column++) {
      const half = Math.sqrt(Math.max(0, r * r - (column + 0.5 - x) ** 2));
      const from = Math.max(0, Math.ceil(y - half - 0.5)), to = Math.min(height - 1, Math.floor(y + half - 0.5));
      if (from <= to) mask.fill(value, column * height + from, column * height + to + 1);
    }
  };
  const line = (from, to) => {
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(0.5, radius() / 3)));
    for (let i = 1; i <= steps; i++) stamp({ x: from.x + (to.x - from.x) * i / steps, y: from.y + (to.y - from.y) * i / steps });
  };
  return {
    down(point) { session.begun(); last = point; stamp(point); },
    move(point) { line(last, point); last = point; },
    up(point) { line(last, point); last = null; session.ended(); },
    cancel() { last = null; session.cancelled(); },
  };
}
