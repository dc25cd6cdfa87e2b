// Zip archives, read from the file where they are: the list at their end first, each entry when it is wanted.

const END = 0x06054b50, ENTRY = 0x02014b50, END_BYTES = 22, LONGEST_COMMENT = 65_535;
const STORED = 0, DEFLATED = 8, IS_ENCRYPTED = 1;

/** [{name, size, modified, blob()}] of the files in an archive. */
export async function entriesOf(file) {
  const tail = await view(file.slice(Math.max(0, file.size - END_BYTES - LONGEST_COMMENT)));
  let at = tail.byteLength - END_BYTES;
  while (at >= 0 && tail.getUint32(at, true) !== END) at--;
  if (at < 0) throw new Error(`${file.name} is no zip archive, or it is cut short.`);
  const count = tail.getUint16(at + 10, true), length = tail.getUint32(at + 12, true), start = tail.getUint32(at + 16, true);
  if (count === 0xffff || start === 0xffffffff) throw new Error(`${file.name} is a zip archive of more than 4 GB or 65,535 files; split it.`);
  const list = await view(file.slice(start, start + length));
  const entries = [];
  for (let place = 0, i = 0; i < count; i++) {
    if (list.getUint32(place, true) !== ENTRY) throw new Error(`${file.name}: its list of files is damaged.`);
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) => list.getUint16(place + offset, true));
    const name = new TextDecoder().decode(new Uint8Array(list.buffer, list.byteOffset + place + 46, nameLength));
    const entry = {
      flags: list.getUint16(place + 8, true), method: list.getUint16(place + 10, true),
      packed: list.getUint32(place + 20, true), size: list.getUint32(place + 24, true), offset: list.getUint32(place + 42, true),
    };
    if (!name.endsWith("/")) entries.push({ name, size: entry.size, modified: file.lastModified, blob: () => unpacked(file, name, entry) });
    place += 46 + nameLength + extraLength + commentLength;
  }
  return entries;
}

async function unpacked(file, name, { flags, method, packed, size, offset }) {
  if (flags & IS_ENCRYPTED) throw new Error(`${name} is encrypted; unpack the archive yourself.`);
  const head = await view(file.slice(offset, offset + 30));
  const start = offset + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const content = file.slice(start, start + packed);
  if (method === STORED) return content;
  if (method !== DEFLATED) throw new Error(`${name} is packed by method ${method}; only deflate is read.`);
  const blob = await new Response(bounded(content.stream().pipeThrough(new DecompressionStream("deflate-raw")), size, name)).blob();
  return blob;
}

/** An entry may not become larger than its list says. */
function bounded(stream, size, name) {
  let seen = 0;
  return stream.pipeThrough(new TransformStream({
    transform(chunk, controller) {
      seen += chunk.byteLength;
      if (seen > size) controller.error(new Error(`${name} is larger than its archive says.`));
      else controller.enqueue(chunk);
    },
  }));
}

const view = async (blob) => new DataView(await blob.arrayBuffer());
