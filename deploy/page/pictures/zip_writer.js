// A zip archive of files that are small or packed already: stored, not deflated.

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});

function checksum(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

const UTF8_NAMES = 0x0800, VERSION = 20, A_DATE = 0x21;  // the first of January 1980, where the format's time begins

/** `files` are {name, blob}. */
export async function zipped(files) {
  const parts = [], list = [];
  let offset = 0;
  for (const { name, blob } of files) {
    const encoded = new TextEncoder().encode(name), sum = checksum(new Uint8Array(await blob.arrayBuffer()));
    const shared = [VERSION, UTF8_NAMES, 0, 0, A_DATE];  // what both headers say first, two bytes each
    const sizes = (view, at) => {
      view.setUint32(at, sum, true);
      view.setUint32(at + 4, blob.size, true);
      view.setUint32(at + 8, blob.size, true);
      view.setUint16(at + 12, encoded.length, true);
    };
    const head = new DataView(new ArrayBuffer(30)), entry = new DataView(new ArrayBuffer(46));
    head.setUint32(0, 0x04034b50, true);
    shared.forEach((value, i) => head.setUint16(4 + 2 * i, value, true));
    sizes(head, 14);
    entry.setUint32(0, 0x02014b50, true);
    entry.setUint16(4, VERSION, true);
    shared.forEach((value, i) => entry.setUint16(6 + 2 * i, value, true));
    sizes(entry, 16);
    entry.setUint32(42, offset, true);
    parts.push(head.buffer, encoded, blob);
    list.push(entry.buffer, encoded);
    offset += 30 + encoded.length + blob.size;
  }
  const length = list.reduce((sum, part) => sum + part.byteLength, 0), end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, files.length, true);
  end.setUint16(10, files.length, true);
  end.setUint32(12, length, true);
  end.setUint32(16, offset, true);
  return new Blob([...parts, ...list, end.buffer], { type: "application/zip" });
}
