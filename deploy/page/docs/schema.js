// Schemas as people read them: a line for each key, with its type, whether it must be there, and what it means.
import { element } from "../core/dom.js";

/** Text with `code` in it. */
export function prose(text) {
  return (text || "").split("`").map((part, i) => (i % 2 ? element("code", {}, part) : part));
}

export const resolved = (schema, all) => (schema?.$ref ? all[schema.$ref.split("/").pop()] : schema) || {};

/** A type in few words. */
export function typeName(schema, all) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  const choices = schema.anyOf || schema.oneOf;
  if (choices) return choices.map((one) => typeName(one, all)).join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") {
    const items = schema.items ? typeName(schema.items, all) : schema.prefixItems?.map((one) => typeName(one, all)).join(", ") || "anything";
    return schema.prefixItems ? `[${items}]` : `list of ${items}`;
  }
  if (schema.format === "binary") return "file";
  if (schema.type === "object" && schema.additionalProperties?.type) return `object of ${schema.additionalProperties.type}`;
  return schema.type || "anything";
}

const limits = ({ minimum, maximum, exclusiveMinimum, minLength, maxLength, minItems, maxItems, pattern, default: standard }) => [
  minimum !== undefined && `at least ${minimum}`, exclusiveMinimum !== undefined && `above ${exclusiveMinimum}`,
  maximum !== undefined && `at most ${maximum}`, minLength && `${minLength} characters or more`, maxLength && `at most ${maxLength} characters`,
  minItems && `${minItems} or more`, maxItems && `at most ${maxItems}`, pattern && `matches ${pattern}`,
  standard !== undefined && standard !== null && typeof standard !== "object" && `default ${JSON.stringify(standard)}`,
].filter(Boolean).join(", ");

/** The models that a schema names, itself first, each once. */
function models(schema, all, found = new Set()) {
  const visit = (node) => {
    if (!node || typeof node !== "object") return;
    if (typeof node.$ref === "string") {
      const name = node.$ref.split("/").pop();
      if (!found.has(name)) { found.add(name); visit(all[name]); }
      return;
    }
    Object.values(node).forEach(visit);
  };
  visit(schema);
  return [...found];
}

/** Tables of a schema and of every model in it. */
export function schemaTables(schema, all) {
  const names = models(schema, all).filter((name) => all[name]?.properties);
  return names.map((name, i) => element("details", { open: i === 0 },
    element("summary", {}, element("b", {}, name), " ", element("span", { class: "hint" }, ...prose(firstLine(all[name].description)))),
    properties(all[name], all, name)));
}

export const firstLine = (text) => (text || "").split("\n")[0];

function properties(model, all, name) {
  return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Keys of ${name}` }, element("table", { class: "keys-table" },
    element("thead", {}, element("tr", {}, ...["Key", "Type", "Meaning"].map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...Object.entries(model.properties).map(([key, schema]) => element("tr", {},
      element("th", { scope: "row" }, element("code", {}, key), (model.required || []).includes(key) ? element("span", { class: "must" }, " needed") : null),
      element("td", {}, typeName(schema, all)),
      element("td", {}, ...prose(schema.description), schema.description && limits(schema) ? "; " : "", limits(schema)))))));
}
