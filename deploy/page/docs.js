// The API's description for people, from /openapi.json, without anybody else's scripts.

const element = (name, text, className) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
};

/** A schema in one line per key, nested as deep as it is. */
function written(schema, all, depth = 0) {
  if (!schema || depth > 5) return "…";
  if (schema.$ref) return written(all[schema.$ref.split("/").pop()], all, depth);
  if (schema.anyOf) return schema.anyOf.map((one) => written(one, all, depth)).join("  or  ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `[${written(schema.items, all, depth)}]`;
  if (schema.type === "object" && schema.properties) {
    const pad = "  ".repeat(depth + 1);
    const lines = Object.entries(schema.properties).map(([name, one]) => {
      const must = (schema.required || []).includes(name) ? "" : "?";
      const note = one.description ? `   // ${one.description}` : "";
      return `${pad}${name}${must}: ${written(one, all, depth + 1)}${note}`;
    });
    return `{\n${lines.join("\n")}\n${"  ".repeat(depth)}}`;
  }
  return schema.format === "binary" ? "file" : schema.type || "anything";
}

function bodies(list, content, all) {
  for (const [type, { schema }] of Object.entries(content || {})) {
    list.append(element("dt", type), element("dd"));
    list.lastChild.append(element("pre", written(schema, all)));
  }
}

function operation(method, path, described, all) {
  const box = element("details"), head = element("summary");
  head.append(element("span", method.toUpperCase(), "method"), element("code", path));
  const first = (described.description || described.summary).split("\n")[0];
  head.append(" ", element("span", first, "what"));
  box.append(head);
  if (described.requestBody) {
    const asked = element("dl");
    bodies(asked, described.requestBody.content, all);
    box.append(element("h3", "Request"), asked);
  }
  const answered = element("dl");
  for (const [status, one] of Object.entries(described.responses)) {
    if (status >= 400) continue;
    answered.append(element("dt", `${status} ${one.description}`));
    bodies(answered, one.content, all);
  }
  const refusals = Object.keys(described.responses).filter((status) => status >= 400).join(", ");
  answered.append(element("dt", `${refusals}: application/problem+json`));
  box.append(element("h3", "Answer"), answered);
  return box;
}

const description = await (await fetch("/openapi.json")).json();
const all = description.components.schemas, groups = new Map();
for (const [path, methods] of Object.entries(description.paths)) {
  for (const [method, described] of Object.entries(methods)) {
    const tag = (described.tags || ["other"])[0];
    groups.set(tag, [...(groups.get(tag) || []), operation(method, path, described, all)]);
  }
}
document.getElementById("operations").replaceChildren(
  ...[...groups].flatMap(([tag, operations]) => [element("h2", tag), ...operations]),
);
