/* The workers, and an image through them in tiles. */

const SIDE = { least: 64, most: 256 }; // of tiles, without their surroundings

export class Pool {
  constructor(source, engine, models, count) {
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    Object.assign(this, { address, engine, models, count, free: [], wanted: [], made: 0, number: 0 });
  }

  /* Let a worker do something; gives its answer. */
  async ask(message, transfer = []) {
    const worker = await this.take();
    const answer = await this.send(worker, message, transfer);
    if (answer.lost) this.made--;
    else this.leave(worker);
    if (answer.error) throw new Error(answer.error);
    return answer;
  }

  async take() {
    if (this.free.length) return this.free.pop();
    if (this.made >= this.count) return new Promise((resolve) => this.wanted.push(resolve));
    this.made++;
    const worker = new Worker(this.address);
    await this.send(worker, { does: "begin", engine: this.engine, models: this.models }, []);
    return worker;
  }

  leave(worker) {
    if (this.wanted.length) this.wanted.shift()(worker);
    else this.free.push(worker);
  }

  send(worker, message, transfer) {
    const id = ++this.number;
    return new Promise((resolve) => {
      worker.onmessage = ({ data }) => { if (data.id === id) resolve(data); };
      worker.onerror = (event) => { event.preventDefault(); resolve({ error: event.message ?? "a worker has failed", lost: true }); };
      worker.postMessage({ id, ...message }, transfer);
    });
  }

  /* An image {pixels, width, height, colourless, clear} through a network, or by bicubic where `model.name` is null.
  Calls `progress` with the share that is done. */
  async upscale(image, { name, scale, halo }, progress, signal) {
    const { width, height } = image, side = Math.ceil(Math.sqrt((width * height) / (2 * this.count)));
    const cut = Math.min(SIDE.most, Math.max(SIDE.least, side));
    const tiles = [];
    for (let top = 0; top < height; top += cut) {
      for (let left = 0; left < width; left += cut) {
        tiles.push({ top, left, high: Math.min(cut, height - top), wide: Math.min(cut, width - left) });
      }
    }
    const from = new Uint32Array(image.pixels), out = new Uint32Array(width * height * scale * scale);
    let next = 0, done = 0, failed = null;
    const lane = async () => {
      while (next < tiles.length && !signal?.aborted && !failed) {
        const tile = tiles[next++];
        const pixels = around(from, width, height, tile, halo);
        const message = { does: "upscale", model: name, scale, halo, pixels, width: tile.wide + 2 * halo, height: tile.high + 2 * halo };
        try {
          const made = await this.ask({ ...message, colourless: image.colourless, clear: image.clear }, [pixels]);
          place(out, new Uint32Array(made.pixels), width, tile, scale);
          progress(++done / tiles.length);
        } catch (error) {
          failed = error;
        }
      }
    };
    await Promise.all(Array.from({ length: this.count }, lane));
    if (failed) throw failed;
    signal?.throwIfAborted();
    return out.buffer;
  }
}

/* A tile with its surroundings; beyond the edges the image is mirrored. */
function around(pixels, width, height, { top, left, high, wide }, halo) {
  const mirrored = (at, size) => {
    const place = ((at % (2 * size)) + 2 * size) % (2 * size);
    return place < size ? place : 2 * size - 1 - place;
  };
  const row = wide + 2 * halo, out = new Uint32Array(row * (high + 2 * halo));
  const columns = Array.from({ length: row }, (_, x) => mirrored(left - halo + x, width));
  const inside = left >= halo && left + wide + halo <= width;
  for (let y = 0; y < high + 2 * halo; y++) {
    const from = mirrored(top - halo + y, height) * width;
    if (inside) out.set(pixels.subarray(from + left - halo, from + left - halo + row), y * row);
    else columns.forEach((column, x) => { out[y * row + x] = pixels[from + column]; });
  }
  return out.buffer;
}

function place(out, made, width, { top, left, high, wide }, scale) {
  for (let y = 0; y < high * scale; y++) {
    out.set(made.subarray(y * wide * scale, (y + 1) * wide * scale), (top * scale + y) * width * scale + left * scale);
  }
}
