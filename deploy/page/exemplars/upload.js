// Exemplars travel once: what was sent before is named by its place in a stored set, and a set is asked by its digest.
import { getJson, sendJson, call } from "../core/api.js";

// One request carries so many bytes of pictures; base64 makes a third more of them.
const CHUNK = 16_000_000;
const running = new WeakMap();

/** The digest of what the set says now; sends what the endpoint does not have. */
export function digestOf(set) {
  if (set.digest) return Promise.resolve(set.digest);
  const known = running.get(set);
  if (known?.version === set.version) return known.promise;
  const promise = sent(set);
  running.set(set, { version: set.version, promise });
  promise.catch(() => running.delete(set));
  return promise;
}

/** Keeps the set under a name. `condition` are headers, see `If-Match`. */
export async function saveAs(set, name, condition) {
  await sendAhead(set, 0);
  const version = set.version;
  const stored = await sendJson("PUT", `/v1/exemplar-sets/${encodeURIComponent(name)}`,
    set.document(({ stored: place }) => ({ stored: place })), { headers: condition });
  set.digests.set(version, stored.digest);
  return stored;
}

async function sent(set) {
  const version = set.version;
  await sendAhead(set, CHUNK);
  const document = set.document((source) => source);
  const stored = await sendJson("POST", "/v1/exemplar-sets", await encoded(document));
  set.digests.set(version, stored.digest);
  await learnPlaces(document, stored.digest);
  return stored.digest;
}

/** Sends pictures as sets of their own until what is left unsent is at most `rest` bytes. */
async function sendAhead(set, rest) {
  let unsent = sources(set.document((source) => source)).filter((source) => !source.stored);
  const size = (list) => list.reduce((sum, { blob }) => sum + blob.size, 0);
  while (unsent.length && size(unsent) > rest) {
    let bytes = 0;
    const part = unsent.filter((source, i) => (bytes += source.blob.size) <= CHUNK || i === 0);
    const document = { classes: [{ name: "part of a set", exemplars: part.map((image) => ({ image })) }], negatives: [] };
    const stored = await sendJson("POST", "/v1/exemplar-sets", await encoded(document));
    await learnPlaces(document, stored.digest);
    unsent = unsent.slice(part.length);
  }
}

function sources(document) {
  const refs = document.classes.flatMap((one) => one.exemplars);
  return [...refs.map(({ image }) => image), ...document.negatives, ...refs.flatMap(({ mask }) => mask || [])];
}

/** The endpoint's own document names every picture in the order in which they were sent. */
async function learnPlaces(document, digest) {
  const known = await getJson(`/v1/exemplar-sets/${digest}/document`);
  const places = sources(known);
  sources(document).forEach((source, i) => { source.stored = places[i]; });
}

async function encoded(document) {
  const content = new Map();
  await Promise.all(sources(document).map(async (source) => {
    content.set(source, source.stored ? { stored: source.stored } : { data: await base64(source.blob), name: source.name });
  }));
  const ref = (one) => ({ ...one, image: content.get(one.image), ...(one.mask ? { mask: content.get(one.mask) } : { mask: undefined }) });
  return {
    classes: document.classes.map((one) => ({ ...one, exemplars: one.exemplars.map(ref) })),
    negatives: document.negatives.map((source) => content.get(source)),
  };
}

function base64(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => failed(new Error("A picture can no longer be read from this machine; add it again."));
    reader.readAsDataURL(blob);
  });
}

/** The bytes of a source, from this machine or from the endpoint. */
export async function blobOf(source) {
  if (!source.blob) {
    const [digest, ...path] = source.stored.split("/");
    source.blob = await (await call("GET", `/v1/exemplar-sets/${digest}/${path.join("/")}`)).blob();
  }
  return source.blob;
}
