/* A PNG of what a canvas would write as RGBA, or would not take for its size. */

"use strict";

/* Rows as differences from what their neighbours foretell (Paeth), each behind the number of that filter. */
function filtered(pixels, width, height, channels) {
  const row = width * channels, out = new Uint8Array(height * (row + 1));
  const at = (x, y, c) => (x < 0 || y < 0 ? 0 : pixels[4 * (y * width + x) + c]);
  for (let y = 0, to = 0; y < height; y++) {
    out[to++] = 4;
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++) {
        const left = at(x - 1, y, c), above = at(x, y - 1, c), corner = at(x - 1, y - 1, c);
        const a = Math.abs(above - corner), b = Math.abs(left - corner), both = Math.abs(left + above - 2 * corner);
        out[to++] = at(x, y, c) - (a <= b && a <= both ? left : b <= both ? above : corner);
      }
    }
  }
  return out;
}

function chunk(name, data) {
  const out = new Uint8Array(12 + data.length), view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  out.set(new TextEncoder().encode(name), 4);
  out.set(data, 8);
  view.setUint32(8 + data.length, crc32(out.subarray(4, 8 + data.length)));
  return out;
}

async function png(pixels, width, height, clear) {
  const head = new DataView(new ArrayBuffer(13));
  head.setUint32(0, width);
  head.setUint32(4, height);
  head.setUint8(8, 8);
  head.setUint8(9, clear ? 6 : 2);
  const rows = new Blob([filtered(pixels, width, height, clear ? 4 : 3)]).stream().pipeThrough(new CompressionStream("deflate"));
  const data = new Uint8Array(await new Response(rows).arrayBuffer()), mark = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]);
  const srgb = chunk("sRGB", new Uint8Array(1));
  const parts = [mark, chunk("IHDR", new Uint8Array(head.buffer)), srgb, chunk("IDAT", data), chunk("IEND", new Uint8Array())];
  return new Blob(parts, { type: "image/png" });
}
