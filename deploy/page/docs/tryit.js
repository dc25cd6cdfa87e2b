// A form for one call: its parameters, its body, and what the endpoint answers.
import { call } from "../core/api.js";
import { button, element, field } from "../core/dom.js";
import { prose, resolved, typeName } from "./schema.js";

const LONGEST = 20_000;
let numbers = 0;

export function tryIt(method, path, described, all) {
  const answer = element("div", { class: "answer", "aria-live": "polite" });
  const parameters = (described.parameters || []).map((one) => ({ one, input: parameterInput(one) }));
  const content = described.requestBody?.content || {}, kinds = Object.keys(content);
  const kind = element("select", { id: `kind-${++numbers}` }, ...kinds.map((name) => element("option", { value: name }, name)));
  const body = element("div", {});
  let read = () => ({});
  const fillBody = () => { [read] = [kinds.length ? bodyInputs(body, kind.value, content[kind.value], all) : () => ({})]; };
  kind.addEventListener("change", fillBody);
  fillBody();

  async function send() {
    answer.replaceChildren("Asking…");
    const started = performance.now();
    try {
      const url = new URL(location.origin + path.replace(/\{(\w+)(:path)?\}/g, (_, name) => valueOf(name, true)));
      const headers = {};
      for (const { one, input } of parameters) {
        if (!input.value) continue;
        if (one.in === "query") url.searchParams.set(one.name, input.value);
        if (one.in === "header") headers[one.name] = input.value;
      }
      const given = read();
      const got = await call(method.toUpperCase(), url.pathname + url.search, { ...given, headers: { ...headers, ...given.headers } });
      const took = Math.round(performance.now() - started);
      answer.replaceChildren(element("p", {}, element("span", { class: "chip", data: { kind: "good" } }, `${got.status}`), ` ${got.headers.get("content-type") || "no content"}, ${took} ms`), await shown(got));
    } catch (problem) {
      answer.replaceChildren(element("p", { class: "problem" }, element("span", { class: "chip", data: { kind: "bad" } }, `${problem.status ?? "not sent"}`), ` ${problem.message}`));
    }
  }
  function valueOf(name) {
    const { input } = parameters.find(({ one }) => one.name === name && one.in === "path");
    if (!input.value) throw new Error(`Give a ${name}: the path needs it.`);
    return input.value.split("/").map(encodeURIComponent).join("/");
  }

  return element("form", { class: "try", on: { submit: (event) => { event.preventDefault(); send(); } } },
    ...parameters.map(({ one, input }) => field(`${one.name} (${one.in}${one.required ? ", needed" : ""})`, input, element("span", {}, ...prose(one.description)))),
    kinds.length > 1 ? field("Body as", kind) : null, body,
    element("div", { class: "row" }, element("button", { class: "primary" }, "Send"), button("Clear the answer", () => answer.replaceChildren())), answer);
}

function parameterInput(one) {
  const input = element("input", { id: `parameter-${++numbers}`, autocomplete: "off" });
  const example = one.example ?? one.schema?.example ?? one.schema?.default;
  if (example !== undefined && example !== null) input.value = example;
  return input;
}

/** Fills `place` with what the kind of body needs; answers what reads it. */
function bodyInputs(place, kind, { schema, example }, all) {
  if (kind === "application/json") {
    const text = element("textarea", { id: `body-${++numbers}`, rows: 8, spellcheck: "false" });
    text.value = JSON.stringify(example ?? {}, null, 2);
    place.replaceChildren(field("Body", text));
    return () => {
      try { JSON.parse(text.value); } catch (error) { throw new Error(`The body is not JSON: ${error.message}`); }
      return { body: text.value, headers: { "Content-Type": "application/json" } };
    };
  }
  const model = resolved(schema, all), inputs = Object.entries(model.properties || {}).map(([name, one]) => {
    const isFile = typeName(one, all).includes("file"), isList = one.type === "array";
    const input = element("input", isFile ? { type: "file", multiple: isList } : { autocomplete: "off", placeholder: isList ? "several: separate by commas" : "" });
    input.id = `part-${++numbers}`;
    return { name, input, isFile, isList, label: `${name} (${typeName(one, all)}${(model.required || []).includes(name) ? ", needed" : ""})`, hint: one.description };
  });
  place.replaceChildren(...inputs.map(({ label, input, hint }) => field(label, input, element("span", {}, ...prose(hint)))));
  return () => {
    const form = new FormData();
    for (const { name, input, isFile, isList } of inputs) {
      if (isFile) for (const file of input.files) form.append(name, file);
      else if (input.value) for (const value of isList ? input.value.split(",") : [input.value]) form.append(name, value.trim());
    }
    return { body: form };
  };
}

async function shown(answer) {
  const type = answer.headers.get("content-type") || "";
  if (type.startsWith("image/")) return element("img", { src: URL.createObjectURL(await answer.blob()), alt: "The answer, a picture" });
  if (!/json|text/.test(type)) return element("p", {}, `${(await answer.blob()).size.toLocaleString("en")} bytes`);
  const text = await answer.text();
  let pretty = text;
  try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch { /* plain text */ }
  const rest = pretty.length - LONGEST;
  return element("pre", { tabindex: 0 }, rest > 0 ? `${pretty.slice(0, LONGEST)}\n… and ${rest.toLocaleString("en")} more characters` : pretty);
}
