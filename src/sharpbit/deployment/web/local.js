/* The images of the page, upscaled one after the other on the visitor's own device. */

import { $, make, show } from "./page.js";
import { Pool } from "./pool.js";
import { zip } from "./zip.js";

const MOST = { side: 16384, pixels: 1 << 27 }; // of a result: what browsers draw
const TYPES = { png: "image/png", jpg: "image/jpeg", webp: "image/webp" };
const BICUBIC = { name: null, halo: 4 };
const given = JSON.parse($("parts").textContent);

const decoded = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

class Local extends EventTarget {
  constructor() {
    super();
    Object.assign(this, { items: [], number: 0, pool: null, working: false, waiting: "waits" });
    this.ready = this.begin();
  }

  async begin() {
    const engine = await WebAssembly.compile(decoded(given.engine));
    const models = Object.fromEntries(given.models.map(({ name, data }) => [name, decoded(data)]));
    const count = Math.min(16, navigator.hardwareConcurrency || 2);
    this.pool = new Pool($("worker").textContent, engine, models, count);
  }

  add(files, how) {
    for (const file of files) this.items.push(this.item(file, how, URL.createObjectURL(file)));
    this.tell();
    this.pump();
  }

  again(item, how) {
    this.items.push(this.item(item.file, how, item.thumb));
    this.tell();
    this.pump();
    return this.items.at(-1);
  }

  item(file, how, thumb) {
    return { key: ++this.number, name: file.name, file, how, thumb, state: "waiting", progress: 0, error: null, stop: new AbortController() };
  }

  async remove(item) {
    this.items = this.items.filter((other) => other !== item);
    item.stop.abort();
    if (!this.items.some((other) => other.thumb === item.thumb)) URL.revokeObjectURL(item.thumb);
    if (item.address) URL.revokeObjectURL(item.address);
    this.tell();
  }

  get unsent() {
    return this.items.filter((item) => ["waiting", "running"].includes(item.state)).length;
  }

  async pump() {
    if (this.working) return;
    this.working = true;
    await this.ready;
    for (;;) {
      const item = this.items.find(({ state }) => state === "waiting");
      if (!item) break;
      item.state = "running";
      this.tell();
      try {
        await this.upscale(item);
        item.state = "done";
      } catch (error) {
        Object.assign(item, { state: "failed", error: error.message });
      }
      if (this.items.includes(item)) this.dispatchEvent(new CustomEvent("over", { detail: item }));
      this.tell();
    }
    this.working = false;
  }

  async upscale(item) {
    const scale = Number(item.how.scale), kind = type(item), times = [performance.now()];
    const families = given.models.filter((model) => model.scale === scale).map(({ family }) => family);
    const image = await this.read(item.file, families), { width, height } = image;
    const size = { width: width * scale, height: height * scale };
    if (Math.max(size.width, size.height) > MOST.side || size.width * size.height > MOST.pixels) {
      throw new Error(`the result would have ${size.width} × ${size.height} pixels, and this page makes up to ${MOST.side} a side and ${MOST.pixels.toLocaleString("en")} in all`);
    }
    const auto = item.how.model === "auto";
    const model = given.models.find((one) => one.scale === scale && (auto ? one.family === image.chosen.family : one.family === item.how.model));
    times.push(performance.now());
    const pixels = await this.pool.upscale(image, model, (share) => { item.progress = share; this.tell(); }, item.stop.signal);
    times.push(performance.now());
    const { blob } = await this.pool.ask({ does: "write", pixels, ...size, type: kind, clear: image.clear }, [pixels]);
    item.stop.signal.throwIfAborted();
    times.push(performance.now());
    const [decode, network, encode] = [1, 2, 3].map((i) => (times[i] - times[i - 1]) / 1000);
    item.result = blob;
    item.address = URL.createObjectURL(blob);
    item.job = {
      id: item.key, model: item.how.model, why: image.chosen?.why, models: [model.name], notes: [],
      engines: [{ engine: "sharpbit in WebAssembly", precision: "int8", instruction_set: `${this.pool.count} threads` }],
      size: { width, height }, result_size: size, bytes: blob.size, seconds: { decode, network, encode }, result_name: resultName(item, scale, kind),
    };
  }

  async read(file, families) {
    try {
      return await this.pool.ask({ does: "read", file, families });
    } catch (error) {
      if (/memory|allocation/i.test(error.message)) throw new Error(`${file.name} is too large for this device`, { cause: error });
      throw new Error(`${file.name} is not an image that this browser can read`, { cause: error });
    }
  }

  part(item, name) {
    const { file, result, job } = item;
    const whole = {
      before: () => createImageBitmap(file),
      after: () => createImageBitmap(result),
      bicubic: async () => {
        const image = await this.read(file, null), scale = job.result_size.width / job.size.width;
        const pixels = await this.pool.upscale(image, { ...BICUBIC, scale }, () => {});
        return createImageBitmap(new ImageData(new Uint8ClampedArray(pixels), image.width * scale));
      },
    }[name];
    return whole; // never asked for less, as it is not made smaller
  }

  link(element, item) {
    Object.assign(element, { href: item.address, download: item.job.result_name });
  }

  linkAll(element, items) {
    element.href = "#";
    element.onclick = async (event) => {
      event.preventDefault();
      const blob = await zip(items.map(({ job, result }) => ({ name: job.result_name, blob: result })));
      const link = Object.assign(make("a", ""), { href: URL.createObjectURL(blob), download: "sharpbit.zip" });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    };
  }

  tell() {
    this.dispatchEvent(new Event("change"));
  }
}

function type({ file, how }) {
  const wanted = TYPES[how.format] ?? file.type;
  return Object.values(TYPES).includes(wanted) ? wanted : TYPES.png;
}

function resultName({ name }, scale, kind) {
  const stem = name.replace(/\.[^.]*$/, ""), [ending] = Object.entries(TYPES).find(([, value]) => value === kind);
  return `${stem}_x${scale}.${ending}`;
}

/* Models and factors to choose from; a choice of one is none. */
function offer() {
  const unique = (key) => [...new Set(given.models.map((model) => model[key]))];
  const option = (text, value) => Object.assign(make("option", "", text), { value });
  const families = unique("family"), scales = unique("scale");
  if (families.length > 1) $("model").append(option("auto: chosen for each image", "auto"));
  $("model").append(...families.map((family) => option(given.words[family] ?? family, family)));
  $("scale").append(...scales.map((scale) => option(`${scale} times`, scale)));
  for (const [id, values] of [["model", families], ["scale", scales]]) $(id).parentElement.hidden = values.length < 2;
}

offer();
show(new Local());
