// How pictures come to the page: chosen, dropped anywhere, pasted, as a folder, in a zip archive, from an address.
import { call, getJson } from "../core/api.js";
import { tell, say } from "../core/messages.js";
import { counted } from "../core/words.js";
import { entriesOf } from "./zip.js";

const PICTURE = /\.(jpe?g|png|webp|tiff?|bmp|gif|avif|heic|jp2)$/i;
const isArchive = (file) => /\.zip$/i.test(file.name) || file.type === "application/zip";
// Whatever lies hidden in archives and folders of other systems.
const isHidden = (path) => path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX");

const asSource = (file, name = file.name) => ({ name, size: file.size, modified: file.lastModified, blob: async () => file });

/** Sources of files; archives are opened, and what is no picture in them is left out. */
export async function sourcesOf(files) {
  const lists = await Promise.all(files.map(async (file) => {
    if (!isArchive(file)) return [asSource(file, file.webkitRelativePath || file.name)];
    return (await entriesOf(file)).filter(({ name }) => PICTURE.test(name) && !isHidden(name));
  }));
  return lists.flat();
}

/** Exemplars are small: their bytes are taken at once. */
export async function exemplarSources(files) {
  return Promise.all((await sourcesOf(files)).map(async ({ name, blob }) => ({ name, blob: await blob() })));
}

/** Sources behind an address: a picture, or a folder or bucket prefix that ends in "/". */
export async function sourcesAt(address) {
  const uris = address.endsWith("/") ? (await listed(address)) : [address];
  return uris.map((uri) => ({
    name: uri, uri, size: 0, modified: 0,
    blob: async () => (await call("GET", `/v1/pictures?uri=${encodeURIComponent(uri)}`)).blob(),
  }));
}

async function listed(address) {
  const { uris, complete } = await getJson(`/v1/picture-lists?uri=${encodeURIComponent(address)}`);
  if (!uris.length) throw new Error(`There are no pictures below ${address}.`);
  if (!complete) say(`There are more than ${counted(uris.length, "picture")} below it; the others are for a batch job.`);
  return uris;
}

/** Files dropped or pasted anywhere; a zone with `accept` takes those that fall on it, `accept` of the page the rest. */
export function startIntake(accept) {
  let depth = 0;
  const mark = (zone) => {
    for (const other of document.querySelectorAll(".over")) if (other !== zone) other.classList.remove("over");
    zone?.classList.add("over");
  };
  const zoneOf = (target) => (target instanceof Element ? target.closest(".drop, .class, #negatives") : null);
  const taker = (zone) => (zone ? zone.accept || zone.querySelector(".drop")?.accept : null);
  const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  window.addEventListener("dragenter", (event) => { if (hasFiles(event)) { depth++; document.body.classList.add("dragging"); } });
  window.addEventListener("dragleave", () => { if (--depth <= 0) { depth = 0; document.body.classList.remove("dragging"); mark(null); } });
  window.addEventListener("dragover", (event) => { event.preventDefault(); mark(zoneOf(event.target)); });
  window.addEventListener("drop", (event) => {
    event.preventDefault();  // else the browser would leave the page for the file
    depth = 0;
    document.body.classList.remove("dragging");
    const take = taker(zoneOf(event.target)) || accept;
    mark(null);
    filesIn(event.dataTransfer).then((files) => { if (files.length) take(files); }).catch(tell);
  });
  window.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])].map((file, i) =>
      (file.name && file.name !== "image.png" ? file : new File([file], `pasted-${stamp()}${i ? `-${i}` : ""}.png`, { type: file.type })));
    if (!files.length) return;
    event.preventDefault();
    (taker(zoneOf(document.activeElement)) || accept)(files);
  });
}

const stamp = () => new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-");

/** The files of a drop, those in its folders included. */
async function filesIn(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  return (await Promise.all(entries.map((entry) => filesBelow(entry)))).flat();
}

async function filesBelow(entry) {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    return isHidden(entry.fullPath.slice(1)) ? [] : PICTURE.test(file.name) || isArchive(file) ? [file] : [];
  }
  const reader = entry.createReader(), found = [];
  for (;;) {  // a reader gives a hundred at a time
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map((child) => filesBelow(child)))).flat();
}
