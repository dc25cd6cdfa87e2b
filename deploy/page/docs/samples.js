// The same call for a shell, for Python and for JavaScript.

/** `call` is {method, path, body, form}: body is an object, form a list of [name, value, isFile]. */
export function samples(call, origin) {
  return { curl: curl(call, origin), Python: python(call, origin), JavaScript: script(call) };
}

const short = (value) => JSON.stringify(value, (_, one) => (typeof one === "string" && one.length > 60 ? `${one.slice(0, 24)}…` : one), 2);
const quoted = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;

function curl({ method, path, body, form }, origin) {
  const lines = [`curl ${method === "GET" ? "" : `-X ${method} `}${quoted(origin + path)}`];
  for (const [name, value, isFile] of form || []) lines.push(`-F ${quoted(`${name}=${isFile ? "@" : ""}${value}`)}`);
  if (body) lines.push("-H 'Content-Type: application/json'", `-d ${quoted(short(body))}`);
  return lines.join(" \\\n  ");
}

function python({ method, path, body, form }, origin) {
  const literal = (value) => short(value).replace(/\btrue\b/g, "True").replace(/\bfalse\b/g, "False").replace(/\bnull\b/g, "None");
  const files = (form || []).filter(([, , isFile]) => isFile), fields = (form || []).filter(([, , isFile]) => !isFile);
  const given = [
    body && `json=${literal(body)}`,
    files.length && `files=[${files.map(([name, value]) => `("${name}", open("${value}", "rb"))`).join(", ")}]`,
    fields.length && `data={${fields.map(([name, value]) => `"${name}": ${JSON.stringify(value)}`).join(", ")}}`,
  ].filter(Boolean).map((argument) => `, ${argument}`).join("");
  return `import httpx\n\nanswer = httpx.request("${method}", "${origin}${path}"${given}, timeout=60)\nanswer.raise_for_status()`;
}

function script({ method, path, body, form }) {
  const lines = [];
  if (form) lines.push("const form = new FormData();", ...form.map(([name, value, isFile]) => `form.append("${name}", ${isFile ? "file" : JSON.stringify(value)});`));
  const given = [`method: "${method}"`, body && `headers: { "Content-Type": "application/json" }`, body && `body: JSON.stringify(${short(body)})`, form && "body: form"].filter(Boolean);
  lines.push(method === "GET" ? `const answer = await fetch("${path}");` : `const answer = await fetch("${path}", { ${given.join(", ")} });`);
  return lines.join("\n");
}
