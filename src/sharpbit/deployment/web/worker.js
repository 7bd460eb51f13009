/* What a worker does, off the thread of the page: read images, upscale tiles of them, write results. Messages are {id, does,
...} and answered by {id, ...} or {id, error}. */

"use strict";

let engine = null; // the compiled module
let models = {}; // name -> bytes of a native file
let open = { name: null, exports: null, scale: 0, halo: 0 }; // the network that was run last

function opened(name) {
  if (open.name === name) return open;
  open.name = null;
  let memory = null;
  const fail = (at) => {
    const bytes = new Uint8Array(memory.buffer);
    throw new Error(new TextDecoder().decode(bytes.subarray(at, bytes.indexOf(0, at))));
  };
  const { exports } = new WebAssembly.Instance(engine, { page: { fail } });
  memory = exports.memory;
  exports._initialize();
  const data = models[name], place = exports.take(data.length);
  new Uint8Array(memory.buffer).set(data, place);
  exports.open(place, data.length);
  exports.give(place);
  open = { name, exports, scale: exports.scale() };
  return open;
}

/* RGB of a tile through a network, `(width - 2 halo) * scale` pixels a row. `color(at)` gives a byte of the tile. */
function run(name, byte, { width, height, halo }) {
  const { exports, scale } = opened(name), count = 3 * width * height;
  let from = 0, to = 0;
  try {
    from = exports.take(count);
    to = exports.take(count * scale * scale);
    const given = new Uint8Array(exports.memory.buffer, from, count);
    for (let i = 0, at = 0; i < width * height; i++) for (let c = 0; c < 3; c++) given[at++] = byte(4 * i + c);
    exports.run(from, to, height, width, halo, height - halo, halo, width - halo);
    const high = (height - 2 * halo) * scale, wide = 3 * (width - 2 * halo) * scale, row = 3 * width * scale;
    const made = new Uint8Array(exports.memory.buffer, to, count * scale * scale), out = new Uint8Array(high * wide);
    for (let y = 0; y < high; y++) {
      const start = (y + halo * scale) * row + 3 * halo * scale;
      out.set(made.subarray(start, start + wide), y * wide);
    }
    exports.give(from);
    exports.give(to);
    return out;
  } catch (error) {
    open.name = null; // a module that has failed is not used again
    throw error;
  }
}

/* Where a pixel and its eight neighbours are wholly transparent or opaque, so is the result. */
function coverOf(name, pixels, tile, scale) {
  const { width, height, halo } = tile, wide = (width - 2 * halo) * scale;
  const made = run(name, (at) => pixels[at | 3], tile), out = new Uint8Array(made.length / 3);
  for (let i = 0; i < out.length; i++) {
    const x = halo + Math.floor((i % wide) / scale), y = halo + Math.floor(Math.floor(i / wide) / scale);
    const alpha = (dx, dy) => pixels[4 * ((y + dy) * width + x + dx) + 3];
    const own = alpha(0, 0);
    let flat = own === 0 || own === 255;
    for (let k = 0; flat && k < 9; k++) flat = alpha((k % 3) - 1, Math.floor(k / 3) - 1) === own;
    out[i] = flat ? own : luma(made, 3 * i);
  }
  return out;
}

function luma(bytes, at) {
  return Math.round(0.299 * bytes[at] + 0.587 * bytes[at + 1] + 0.114 * bytes[at + 2]);
}

function upscaled({ model, scale, pixels, width, height, halo, colourless, clear }) {
  const tile = { width, height, halo }, given = new Uint8Array(pixels);
  const color = model === null ? bicubic(given, tile, scale) : run(model, (at) => given[at], tile);
  const out = new Uint8ClampedArray((color.length / 3) * 4);
  for (let i = 0; i < color.length / 3; i++) {
    const even = colourless ? luma(color, 3 * i) : 0;
    for (let c = 0; c < 3; c++) out[4 * i + c] = colourless ? even : color[3 * i + c];
    out[4 * i + 3] = 255;
  }
  if (clear) {
    const cover = model === null ? bicubic(given.map((_, at) => given[at | 3]), tile, scale) : null;
    const alpha = cover ? cover.filter((_, at) => at % 3 === 0) : coverOf(model, given, tile, scale);
    for (let i = 0; i < alpha.length; i++) out[4 * i + 3] = alpha[i];
  }
  return { pixels: out.buffer };
}

/* Cubic convolution with a = -0.5, as src/sharpbit/image/resize.py, for comparison. */
function bicubic(pixels, { width, height, halo }, scale) {
  const cubic = (x) => {
    const a = Math.abs(x);
    return a <= 1 ? 1.5 * a ** 3 - 2.5 * a ** 2 + 1 : a < 2 ? -0.5 * a ** 3 + 2.5 * a ** 2 - 4 * a + 2 : 0;
  };
  const taps = Array.from({ length: scale }, (_, phase) => {
    const centre = (phase + 0.5) / scale - 0.5, first = Math.floor(centre) - 1;
    return { first, weights: [0, 1, 2, 3].map((k) => cubic(centre - first - k)) };
  });
  const wide = (width - 2 * halo) * scale, high = (height - 2 * halo) * scale;
  const rows = new Float32Array(height * wide * 3), out = new Uint8ClampedArray(high * wide * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < wide; x++) {
      const { first, weights } = taps[x % scale], from = 4 * (y * width + halo + Math.floor(x / scale) + first);
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let k = 0; k < 4; k++) sum += weights[k] * pixels[from + 4 * k + c];
        rows[3 * (y * wide + x) + c] = sum;
      }
    }
  }
  for (let y = 0; y < high; y++) {
    const { first, weights } = taps[y % scale], from = 3 * wide * (halo + Math.floor(y / scale) + first);
    for (let i = 0; i < 3 * wide; i++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += weights[k] * rows[from + 3 * wide * k + i];
      out[3 * wide * y + i] = sum;
    }
  }
  return out;
}

async function read({ file, families }) {
  const bitmap = await createImageBitmap(file), { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const pixels = context.getImageData(0, 0, width, height).data;
  let colourless = true, clear = false;
  for (let at = 0; at < pixels.length; at += 4) {
    colourless &&= pixels[at] === pixels[at + 1] && pixels[at] === pixels[at + 2];
    clear ||= pixels[at + 3] !== 255;
  }
  const head = new Uint8Array(await file.slice(0, 1 << 18).arrayBuffer());
  const chosen = families ? choice({ pixels, width, height }, compression(head), families) : null;
  return { width, height, pixels: pixels.buffer, colourless, clear, chosen };
}

async function write({ pixels, width, height, type, clear }) {
  const data = new Uint8ClampedArray(pixels);
  if (type === "image/png") return { blob: await png(data, width, height, clear) };
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
  const blob = await canvas.convertToBlob({ type, quality: 0.95 });
  if (blob.type !== type) throw new Error(`this browser does not write ${type}`);
  return { blob };
}

const DOES = {
  begin: (given) => { ({ engine, models } = given); return {}; },
  read, upscale: upscaled, write,
};

onmessage = async ({ data }) => {
  try {
    const answer = await DOES[data.does](data);
    postMessage({ id: data.id, ...answer }, answer.pixels ? [answer.pixels] : []);
  } catch (error) {
    postMessage({ id: data.id, error: String(error.message ?? error) });
  }
};
