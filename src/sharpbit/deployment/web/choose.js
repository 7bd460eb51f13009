/* Which family of models suits an image: what src/sharpbit/pipeline/choose.py does, whose comments say why. */

"use strict";

const PATCH = 32, PATCHES = 8, FLAT = 0.7, PEAK = 0.3, CONTRAST = 10, QUALITY = 88, BLOCKS = 1.24, NOISE = 1.1, SHARP = 0.24;
const round = Math.fround;

function choice({ pixels, width, height }, lossy, families) {
  const found = measured(sampled(pixels, width, height));
  if (families.includes("art") && found.contrast > CONTRAST && (found.flat > FLAT || found.peak > PEAK)) {
    return { family: "art", why: "flat areas and hard edges" };
  }
  const reason = damage(lossy, found);
  if (reason && families.includes("photo")) return { family: "photo", why: reason };
  return { family: "clean", why: reason ? "no other family at this scale" : "sharp and hardly compressed" };
}

function damage(lossy, found) {
  if (lossy && !(lossy.quality > QUALITY)) return lossy.quality === null ? `lossy ${lossy.format}` : `${lossy.format} quality ${lossy.quality}`;
  if (found.blocks > BLOCKS) return "blocks of an earlier JPEG";
  if (found.noise > NOISE) return "noise";
  return found.sharp < SHARP ? "soft" : "";
}

/* The lossy compression of a file, by its first bytes: {format, quality}, or null. */
function compression(bytes) {
  const text = (from, to) => String.fromCharCode(...bytes.subarray(from, to));
  if (text(0, 4) === "RIFF" && text(8, 12) === "WEBP") return { format: "WebP", quality: null };
  if (text(4, 8) === "ftyp" && /avi[fs]/.test(text(8, 12))) return { format: "AVIF", quality: null };
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return null;
  const sums = new Map();
  for (let at = 2; at + 4 < bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda;) {
    const size = bytes[at + 2] * 256 + bytes[at + 3];
    if (bytes[at + 1] === 0xdb) {
      for (let place = at + 4; place < at + 2 + size;) {
        const deep = bytes[place] >> 4, number = bytes[place] & 15;
        let sum = 0;
        for (let i = 0; i < 64; i++) sum += deep ? bytes[place + 1 + 2 * i] * 256 + bytes[place + 2 + 2 * i] : bytes[place + 1 + i];
        sums.set(number, sum);
        place += 1 + 64 * (deep + 1);
      }
    }
    at += 2 + size;
  }
  if (!sums.size) return null;
  const total = sums.get(Math.min(...sums.keys()));
  if (total <= 64) return { format: "JPEG", quality: 100 };
  const ratio = total / 3688;
  return { format: "JPEG", quality: Math.max(1, Math.min(100, Math.round(ratio < 1 ? 100 - 50 * ratio : 50 / ratio))) };
}

/* Patches {values, height, width} of luma. */
function sampled(pixels, width, height) {
  const starts = (size) => {
    const count = Math.max(1, Math.min(PATCHES, Math.floor(size / PATCH))), room = Math.max(size - PATCH, 0);
    return Array.from({ length: count }, (_, k) => Math.floor(Math.floor((room * k) / Math.max(count - 1, 1)) / 8) * 8);
  };
  const high = Math.min(PATCH, height), wide = Math.min(PATCH, width);
  return starts(height).flatMap((top) => starts(width).map((left) => {
    const values = new Float32Array(high * wide);
    for (let y = 0; y < high; y++) {
      for (let x = 0; x < wide; x++) {
        const at = 4 * ((top + y) * width + left + x);
        values[y * wide + x] = 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];
      }
    }
    return { values, height: high, width: wide };
  }));
}

/* Calls `use(values)` for each whole cell of a patch. */
function cells(patch, side, use) {
  for (let top = 0; top + side <= patch.height; top += side) {
    for (let left = 0; left + side <= patch.width; left += side) {
      const values = [];
      for (let y = top; y < top + side; y++) {
        for (let x = left; x < left + side; x++) values.push(patch.values[y * patch.width + x]);
      }
      use(values);
    }
  }
}

/* Half the signed sum of each 2 x 2 pixels, times `factor`. */
function haar(patch, signs, factor = 1) {
  const height = patch.height >> 1, width = patch.width >> 1, values = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let i = 0; i < 4; i++) sum += signs[i] * patch.values[(2 * y + (i >> 1)) * patch.width + 2 * x + (i & 1)];
      values[y * width + x] = (sum / 2) * factor;
    }
  }
  return { values, height, width };
}

function quantile(values, share) {
  const sorted = Float32Array.from(values).sort(), at = share * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const energy = (patches) => mean(patches.map((patch) => mean(Array.from(patch.values, (value) => value * value))));

function measured(patches) {
  const { height, width } = patches[0];
  if (Math.min(height, width) < 8) return { noise: 0, flat: 0, contrast: 0, peak: 0, blocks: 1, sharp: 1 };
  const ranges = [], lit = [], counts = new Array(258).fill(0);
  let total = 0, outer = 0, inner = 0, outerCount = 0, innerCount = 0;
  const fine = patches.map((patch) => haar(patch, [1, -1, -1, 1]));
  patches.forEach((patch, number) => {
    cells(patch, 4, (values) => ranges.push(round(Math.max(...values) - Math.min(...values))));
    const level = [], smallest = [];
    cells(patch, 8, (values) => level.push(mean(values)));
    cells(fine[number], 4, (values) => smallest.push(Math.sqrt(mean(values.map((value) => value * value)))));
    level.forEach((value, i) => { if (value > 12 && value < 243) lit.push(smallest[i]); });
    for (const value of patch.values) {
      const low = Math.floor(value), rest = value - low;
      counts[1 + Math.min(255, rest > 0.5 || (rest === 0.5 && low % 2) ? low + 1 : low)]++;
      total++;
    }
    for (let y = 0; y < height; y++) {
      for (let x = 0; x + 1 < width; x++) {
        const step = Math.abs(patch.values[y * width + x + 1] - patch.values[y * width + x]);
        if (x % 8 === 7) { outer += step; outerCount++; }
        if (x % 8 === 3) { inner += step; innerCount++; }
      }
    }
  });
  const rough = ranges.filter((range) => range > 2);
  const coarse = energy(patches.map((patch) => haar(haar(patch, [1, 1, 1, 1], 0.5), [1, -1, -1, 1])));
  let peak = 0;
  for (let i = 1; i < 257; i++) peak = Math.max(peak, counts[i - 1] + counts[i] + counts[i + 1]);
  const enough = total >= PATCH ** 2;
  return {
    noise: lit.length >= 16 ? quantile(lit, 0.1) : 0,
    flat: 1 - rough.length / ranges.length,
    contrast: rough.length ? quantile(rough, 0.5) : 0,
    peak: peak / total,
    blocks: ((enough && outerCount ? outer / outerCount : 0) + 0.1) / ((enough && innerCount ? inner / innerCount : 0) + 0.1),
    sharp: coarse > 0.1 ? energy(fine) / coarse : 1,
  };
}
