// Colours of classes: told apart by people who do not see all colours (Okabe and Ito), unlike what is looked for.

const PALETTE = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#0072b2", "#b3a6ff", "#7fe0c3", "#ff9aa2"];
export const colourNames = new Map([
  ["#56b4e9", "sky blue"], ["#e69f00", "orange"], ["#009e73", "green"], ["#cc79a7", "pink"], ["#f0e442", "yellow"],
  ["#d55e00", "red"], ["#0072b2", "blue"], ["#b3a6ff", "lilac"], ["#7fe0c3", "mint"], ["#ff9aa2", "rose"],
]);

export const parts = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

/** The colour that a class starts with. */
export const colourOf = (number) => PALETTE[(number - 1) % PALETTE.length];

export const nextColour = (colour) => PALETTE[(PALETTE.indexOf(colour) + 1) % PALETTE.length];

/** The free colour that differs most from `seen`, [red, green, blue] of what the class looks like. */
export function colourUnlike(seen, taken) {
  const free = PALETTE.filter((colour) => !taken.includes(colour));
  const choice = free.length ? free : PALETTE;
  return choice.reduce((best, colour) => (distance(parts(colour), seen) > distance(parts(best), seen) ? colour : best));
}

/** Weighted as eyes weigh the primary colours, roughly. */
function distance([red, green, blue], [otherRed, otherGreen, otherBlue]) {
  return 2 * (red - otherRed) ** 2 + 4 * (green - otherGreen) ** 2 + 3 * (blue - otherBlue) ** 2;
}
