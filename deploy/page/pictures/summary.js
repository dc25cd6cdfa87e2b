// What was found, class by class, with a histogram of scores and where the threshold cuts it.
import { element } from "../core/dom.js";
import { counted, share } from "../core/words.js";

const SVG = "http://www.w3.org/2000/svg", WIDTH = 200, HEIGHT = 48;

export function drawSummary(place, collection, colourOf) {
  const classes = collection.summary(), asked = collection.answered.length;
  place.hidden = !asked;
  const judged = collection.answered.filter(({ verdicts }) => Object.keys(verdicts).length).length;
  place.querySelector(".total").textContent = `${counted(asked, "picture")} answered, ${judged.toLocaleString("en")} looked at`;
  place.querySelector(".classes").replaceChildren(...classes.map((one) => element("li", {},
    element("div", { class: "row tight" }, swatch(colourOf(one.name, one.number)), element("b", { class: "grow" }, one.name),
      element("span", {}, `found in ${one.found} of ${one.asked}`)),
    histogram(one, collection.threshold),
    element("div", { class: "row axis", "aria-hidden": "true" }, element("span", {}, "0"), element("span", {}, "0.5"), element("span", {}, "1")))));
}

function swatch(colour) {
  const made = element("span", { class: "swatch", "aria-hidden": "true" });
  made.style.background = colour;
  return made;
}

function histogram({ name, scores }, threshold) {
  const chart = document.createElementNS(SVG, "svg"), most = Math.max(1, ...scores), width = WIDTH / scores.length;
  const set = (node, attributes) => { for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value); return node; };
  const above = scores.filter((_, i) => (i + 0.5) / scores.length >= threshold).reduce((sum, count) => sum + count, 0);
  set(chart, { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "histogram", preserveAspectRatio: "none",
    "aria-label": `Scores of ${name}: about ${above} at or above the threshold of ${share(threshold)}, ${scores.reduce((a, b) => a + b, 0) - above} below` });
  scores.forEach((count, i) => {
    const height = count ? Math.max(2, count / most * (HEIGHT - 4)) : 0;
    const bar = set(document.createElementNS(SVG, "rect"), { x: i * width + 0.5, y: HEIGHT - height, width: width - 1, height });
    bar.classList.toggle("below", (i + 0.5) / scores.length < threshold);
    chart.append(bar);
  });
  chart.append(set(document.createElementNS(SVG, "line"), { x1: threshold * WIDTH, x2: threshold * WIDTH, y1: 0, y2: HEIGHT }));
  return chart;
}
