// The API's description for people, made of /openapi.json, which is made of the typed models.
import { getJson } from "../core/api.js";
import { button, byId, element } from "../core/dom.js";
import { say, startMessages, tell } from "../core/messages.js";
import { samples } from "./samples.js";
import { firstLine, prose, schemaTables } from "./schema.js";
import { tryIt } from "./tryit.js";

startMessages();

/** An example of a form, for the samples: files under the names that people use. */
const FORMS = {
  "put /v1/exemplar-sets/{name}": [["exemplar", "fox1.jpg", true], ["label", "red fox"], ["negative", "forest.jpg", true]],
  "post /v1/annotate": [["image", "query.jpg", true], ["exemplars", "foxes"]],
  "post /v1/annotate/batch": [["image", "a.jpg", true], ["image", "b.jpg", true], ["exemplars", "foxes"], ["format", "coco"]],
};
const PATHS = { name: "foxes", job_id: "camera-traps-1a2b3c-1", digest: "0123456789abcdef0123456789abcdef", image: "0123456789abcdef" };

function operation(method, path, described, all) {
  const id = `${method}${path}`.replace(/[^a-z0-9]+/gi, "-");
  const call = {
    method: method.toUpperCase(), path: path.replace(/\{(\w+)(:path)?\}/g, (_, name) => PATHS[name] || name),
    form: FORMS[`${method} ${path}`], body: FORMS[`${method} ${path}`] ? undefined : described.requestBody?.content["application/json"]?.example,
  };
  const box = element("details", { class: "panel operation", id },
    element("summary", {}, element("span", { class: "method", data: { method } }, method.toUpperCase()), element("code", {}, path),
      element("span", { class: "what" }, ...prose(firstLine(described.description || described.summary)))));
  // Its inside is made when somebody looks: there are many calls.
  box.addEventListener("toggle", () => { if (box.open && box.children.length === 1) box.append(...inside(method, path, described, all, call)); });
  return box;
}

function inside(method, path, described, all, call) {
  const parts = [];
  const rest = (described.description || "").split("\n").slice(1).join("\n").trim();
  if (rest) parts.push(element("p", {}, ...prose(rest)));
  parts.push(element("h3", {}, "Examples"), tabs(samples(call, location.origin)));
  parts.push(element("h3", {}, "Try it"), tryIt(method, path, described, all));
  for (const [kind, { schema }] of Object.entries(described.requestBody?.content || {})) parts.push(element("h3", {}, `Request as ${kind}`), ...schemaTables(schema, all));
  for (const [status, one] of Object.entries(described.responses)) {
    if (status >= 400) continue;
    parts.push(element("h3", {}, `Answer ${status}: ${one.description}`));
    for (const [kind, { schema }] of Object.entries(one.content || {})) {
      const tables = schema ? schemaTables(schema, all) : [];
      parts.push(...(tables.length ? tables : [element("p", {}, element("code", {}, kind))]));
    }
  }
  const refusals = Object.keys(described.responses).filter((status) => status >= 400);
  parts.push(element("p", { class: "hint" }, `Refusals are problems: ${refusals.join(", ")}.`));
  return parts;
}

function tabs(texts) {
  const code = element("pre", { tabindex: 0 });
  const buttons = Object.keys(texts).map((name) => button(name, () => choose(name), { class: "small", "aria-pressed": "false" }));
  const choose = (name) => {
    code.textContent = texts[name];
    for (const one of buttons) one.setAttribute("aria-pressed", String(one.textContent === name));
  };
  choose("curl");
  return element("div", {}, element("div", { class: "row tools" }, ...buttons,
    button("Copy", () => navigator.clipboard.writeText(code.textContent).then(() => say("Copied.", "good"), () => say("This browser does not let pages copy here: mark the text and copy it.")))), code);
}

byId("begin").textContent = `curl -X PUT ${location.origin}/v1/exemplar-sets/foxes \\
  -F exemplar=@fox1.jpg -F label='red fox' -F exemplar=@fox2.jpg -F label='red fox'
curl ${location.origin}/v1/annotate -F image=@query.jpg -F exemplars=foxes`;

try {
  const description = await getJson("/openapi.json"), all = description.components.schemas, groups = new Map();
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, described] of Object.entries(methods)) {
      const tag = (described.tags || ["other"])[0];
      groups.set(tag, [...(groups.get(tag) || []), operation(method, path, described, all)]);
    }
  }
  const order = ["annotation", "exemplar sets", "pictures", "jobs", "operations"], rank = ([tag]) => (order.indexOf(tag) + order.length + 1) % (order.length + 1);
  const sorted = [...groups].sort((a, b) => rank(a) - rank(b));
  const idOf = (tag) => `tag-${tag.replace(/\W+/g, "-")}`;
  byId("contents").replaceChildren(...sorted.map(([tag, operations]) => element("a", { href: `#${idOf(tag)}` }, `${tag} (${operations.length})`)));
  byId("operations").replaceChildren(...sorted.map(([tag, operations]) => element("section", { "aria-labelledby": idOf(tag) }, element("h2", { id: idOf(tag) }, tag), ...operations)));
} catch (error) { tell(error); }
document.body.dataset.ready = "yes";
