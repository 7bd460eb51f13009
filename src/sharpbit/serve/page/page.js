/* The page: what is seen of a queue, and what its controls do. It knows nothing of where the work is done: `show` takes a
queue that says so, which is that of a server (queue.js), or one of the visitor's own device (deployment/web/local.js). */

import "./compare.js";

export const $ = (id) => document.getElementById(id);
let queue = null;
const compare = $("compare");
const IMAGE = /\.(png|apng|jpe?g|jpe|jfif|mpo|webp|tiff?|bmp|dib|gif|avifs?|jxl|hei[cf]s?|hif|jp2|j2k|jpf|jpx|p[bgpn]m|ico|psd|dds|sgi|qoi|tga)$/i;
let chosen = null;
let shown = null; // the job whose layers are shown
let layers = null;

const how = () => ({ model: $("model").value, scale: $("scale").value, format: $("format").value });
const size = ({ width, height }) => `${width}\u00a0×\u00a0${height}`;
const seconds = (value) => (value < 0.1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(value < 10 ? 2 : 0)} s`);
export const bytes = (value) => (value < 1e6 ? `${Math.round(value / 1000)} kB` : `${(value / 1e6).toFixed(1)} MB`);
export const make = (kind, name, text = "") => Object.assign(document.createElement(kind), { className: name, textContent: text });

function says(sentence) { $("says").textContent = sentence; }
export function alerts(sentence) {
  $("alert").textContent = sentence;
  $("toast").hidden = !sentence;
}

/* The row of images */

const frames = new Map(); // key -> its <li>

function frame(item) {
  const row = make("li", "frame"), pick = make("button", "pick"), drop = make("button", "icon", "×");
  pick.type = drop.type = "button";
  const thumb = Object.assign(make("img", "thumb"), { alt: "" });
  thumb.addEventListener("error", () => thumb.classList.add("none"));
  const bar = Object.assign(make("progress", ""), { max: 1 });
  pick.append(thumb, make("span", "title"), make("span", "state"));
  pick.addEventListener("click", () => choose(item));
  drop.addEventListener("click", async () => {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    says(`${item.name} was removed`);
    await queue.remove(item);
    (next?.querySelector(".pick") ?? document.querySelector("[data-add]")).focus();
  });
  row.append(pick, bar, drop);
  $("film").append(row);
  return row;
}

const STATES = {
  waiting: () => queue.waiting,
  sending: (item) => `sending, ${Math.round(item.progress * 100)} %`,
  queued: (item) => (item.job.place > 1 ? `number ${item.job.place} in the queue` : "next in the queue"),
  running: (item) => `upscaling, ${Math.round(item.progress * 100)} %`,
  done: (item) => size(item.job.result_size),
  failed: (item) => item.error,
  cancelled: () => "cancelled",
};

function drawFilm() {
  for (const [key, row] of frames) {
    if (!queue.items.some((item) => item.key === key)) {
      row.remove();
      frames.delete(key);
    }
  }
  for (const item of queue.items) {
    if (!frames.has(item.key)) frames.set(item.key, frame(item));
    const row = frames.get(item.key), busy = ["sending", "queued", "running"].includes(item.state);
    const [thumb, title, state] = row.querySelector(".pick").children;
    row.className = `frame ${item.state}${item === chosen ? " chosen" : ""}`;
    row.querySelector(".pick").setAttribute("aria-current", item === chosen);
    if (item.thumb && thumb.getAttribute("src") !== item.thumb && !thumb.dataset.tried) {
      thumb.dataset.tried = "1";
      thumb.src = item.thumb;
    }
    if (title.textContent !== item.name) title.textContent = title.title = item.name;
    const text = STATES[item.state](item);
    if (state.textContent !== text) state.textContent = text;
    const bar = row.querySelector("progress");
    bar.hidden = !busy;
    bar.value = item.progress;
    bar.setAttribute("aria-label", `Progress of ${item.name}`);
    const over = !busy && item.state !== "waiting";
    row.querySelector(".icon").setAttribute("aria-label", `${over ? "Remove" : "Cancel"} ${item.name}`);
  }
  const done = queue.items.filter((item) => item.state === "done");
  $("strip").hidden = !queue.items.length;
  $("count").textContent = `${done.length} of ${queue.items.length} done`;
  $("all").hidden = done.length < 2;
  if (done.length > 1) queue.linkAll($("all"), done);
}

/* The image in the middle, and the panel beside it */

function choose(item) {
  chosen = item;
  draw();
}

function drawView() {
  const done = chosen?.state === "done";
  $("welcome").hidden = Boolean(chosen);
  $("waits").hidden = !chosen || done;
  compare.hidden = $("tools").hidden = !done;
  if (chosen && !done) {
    $("waits-name").textContent = chosen.name;
    $("waits-text").textContent = STATES[chosen.state](chosen);
    $("waits-progress").hidden = !["sending", "queued", "running"].includes(chosen.state);
    $("waits-progress").value = chosen.progress;
  }
  if (!done) {
    shown = null;
    return;
  }
  const { job } = chosen;
  if (shown !== job.id) {
    shown = job.id;
    layers = {
      before: { name: "Before", ...job.size, part: queue.part(chosen, "before") },
      bicubic: { name: "Bicubic", ...job.result_size, part: queue.part(chosen, "bicubic") },
      after: { name: "After", ...job.result_size, part: queue.part(chosen, "after") },
    };
    drawLayers();
  }
}

function drawLayers() {
  const left = document.querySelector("[name=left]:checked").value;
  compare.show(chosen.job.result_size, layers[left], layers.after);
}

function facts(job) {
  const spent = job.seconds, model = job.models.join(", then ") || "bicubic", engine = job.engines[0];
  const rows = [["Model", model]];
  if (job.model === "auto" && job.why) rows.push(["Chosen for", job.why]);
  if (job.plan && job.plan.includes(", then ")) rows.push(["Steps", job.plan]);
  rows.push(["Size", `${size(job.size)} → ${size(job.result_size)}`]);
  rows.push(["File", bytes(job.bytes)]);
  rows.push(["Time", seconds(spent.decode + spent.network + spent.encode)]);
  rows.push(["Network alone", seconds(spent.network)]);
  if (engine) rows.push(["Engine", [engine.engine, engine.precision, engine.instruction_set.replaceAll(" ", "\u00a0").replaceAll("-", "\u2011")].filter(Boolean).join(", ")]);
  return rows;
}

function drawPanel() {
  const done = chosen?.state === "done";
  $("about").hidden = !done;
  $("again").hidden = !chosen?.job || chosen.state === "cancelled";
  if (!done || $("about").dataset.of === String(chosen.key)) return;
  const { job } = chosen;
  $("about").dataset.of = String(chosen.key);
  $("name").textContent = chosen.name;
  $("facts").replaceChildren(...facts(job).flatMap(([name, value]) => [make("dt", "", name), make("dd", "", value)]));
  $("notes").replaceChildren(...job.notes.map((note) => make("li", "", note)));
  queue.link($("download"), chosen);
  $("download").textContent = `Download ${job.result_name}`;
}

function draw() {
  if (chosen && !queue.items.includes(chosen)) chosen = null;
  chosen ??= queue.items.find((item) => item.state === "done") ?? queue.items[0] ?? null;
  drawFilm();
  drawView();
  drawPanel();
}

/* What comes in */

/* All files of a drop, also those in folders, which are `deep`. */
async function dropped(transfer) {
  const files = [];
  const enter = async (entry, deep) => {
    if (entry.isFile) {
      files.push({ deep, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!entries.length) return;
      for (const inner of entries) await enter(inner, true);
    }
  };
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  for (const entry of entries) await enter(entry, false);
  return files;
}

async function take(files) {
  if (!files.length) return;
  await queue.ready;
  const images = files.filter(({ deep, file }) => !deep || (IMAGE.test(file.name) && !file.name.startsWith("."))).map(({ file }) => file);
  const others = files.length - images.length;
  const first = queue.items.length;
  queue.add(images, how());
  if (images.length) choose(queue.items[first]);
  says(`${images.length} added` + (others ? `, ${others} that are no images left out` : ""));
  if (!images.length) alerts("There is no image in this folder.");
  else if (others) alerts(`${others} files of the folder are no images and were left out.`);
}

function listen() {
  for (const button of document.querySelectorAll("[data-add]")) {
    button.addEventListener("click", () => $(button.dataset.add).click());
  }
  for (const id of ["files", "folder"]) {
    $(id).addEventListener("change", (event) => {
      take([...event.target.files].map((file) => ({ deep: id === "folder", file })));
      event.target.value = "";
    });
  }
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    take(await dropped(event.dataTransfer).catch(() => []));
  });
  document.addEventListener("paste", (event) => take([...event.clipboardData.files].map((file) => ({ deep: false, file }))));
  $("how").addEventListener("submit", (event) => {
    event.preventDefault();
    if (chosen?.job) choose(queue.again(chosen, how()));
  });
  $("left").addEventListener("change", drawLayers);
  $("zoom").addEventListener("change", (event) => compare.zoomTo(event.target.value === "fit" ? "fit" : Number(event.target.value)));
  compare.addEventListener("zoomed", ({ detail }) => {
    for (const button of document.querySelectorAll("[name=zoom]")) button.checked = button.value === String(detail);
  });
  $("clear").addEventListener("click", async () => {
    await Promise.all(queue.items.map((item) => queue.remove(item)));
    says("All images were removed");
    document.querySelector("[data-add]").focus();
  });
  $("dismiss").addEventListener("click", () => alerts(""));
  window.addEventListener("beforeunload", (event) => { if (queue.unsent) event.preventDefault(); });
  queue.addEventListener("change", draw);
  queue.addEventListener("lost", ({ detail }) => alerts(detail));
  queue.addEventListener("over", ({ detail: item }) => {
    if (item.state === "failed") alerts(item.error);
    else if (item.state === "done") says(`${item.name} is done: ${size(item.job.result_size)} pixels`);
  });
}

/* Begin to show a queue. */
export function show(found) {
  queue = found;
  listen();
}
