/* Files as one archive, stored as they are: images do not become smaller. */

import { crc32 } from "./crc32.js";

/* Numbers of two or four bytes, little-endian. */
function record(fields) {
  const out = new DataView(new ArrayBuffer(fields.reduce((sum, [, size]) => sum + size, 0)));
  let at = 0;
  for (const [value, size] of fields) {
    if (size === 4) out.setUint32(at, value, true);
    else out.setUint16(at, value, true);
    at += size;
  }
  return out.buffer;
}

/* Of files {name, blob}; names that are there already get a number. */
export async function zip(files) {
  const parts = [], directory = [], taken = new Set();
  let offset = 0;
  for (const { name, blob } of files) {
    const [, stem, ending] = name.match(/^(.*?)(\.[^.]*)?$/s);
    let free = name;
    for (let k = 2; taken.has(free); k++) free = `${stem}-${k}${ending ?? ""}`;
    taken.add(free);
    const path = new TextEncoder().encode(free);
    const about = [[0x800, 2], [0, 2], [0, 2], [0x5c21, 2], [crc32(new Uint8Array(await blob.arrayBuffer())), 4], [blob.size, 4], [blob.size, 4], [path.length, 2], [0, 2]];
    const local = record([[0x04034b50, 4], [20, 2], ...about]);
    directory.push(record([[0x02014b50, 4], [20, 2], [20, 2], ...about, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]]), path);
    parts.push(local, path, blob);
    offset += local.byteLength + path.length + blob.size;
  }
  const size = directory.reduce((sum, part) => sum + part.byteLength, 0);
  const end = record([[0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [size, 4], [offset, 4], [0, 2]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
