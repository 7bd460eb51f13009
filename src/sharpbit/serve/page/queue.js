/* The images of the page: those that wait to be sent, and the jobs of the server. */

import { ask, json, send } from "./api.js";

const SENDING = 3; // uploads at the same time
const UNDERWAY = 12; // jobs that wait or run; what is beyond waits here, so that other clients have their turn
const LOOK = 600; // milliseconds between two looks at jobs that are not over
const OVER = ["done", "failed", "cancelled"];

export class Queue extends EventTarget {
  constructor() {
    super();
    this.items = []; // {key, name, state, progress, error, file, how, job, thumb}
    this.number = 0;
    this.limits = null;
    this.waiting = "waits to be sent"; // what is said of images in that state
    this.ready = new Promise((resolve) => { this.begun = resolve; });
  }

  /* Find the jobs of an earlier visit. */
  async begin() {
    this.limits = await json("/v1/limits");
    const { jobs } = await json("/v1/jobs");
    for (const job of jobs) this.items.push(this.item({ job }));
    this.tell();
    this.watch();
    this.begun();
  }

  /* What gives parts of a layer of an image, as compare.js wants them. */
  part(item, name) {
    return async (box) => {
      const where = box ? `?left=${box.left}&top=${box.top}&width=${box.width}&height=${box.height}` : "";
      return createImageBitmap(await (await ask(`/v1/jobs/${item.job.id}/view/${name}${where}`)).blob());
    };
  }

  link(element, item) {
    element.href = `/v1/jobs/${item.job.id}/result`;
  }

  linkAll(element, items) {
    element.href = `/v1/results.zip?${items.map((item) => `id=${item.job.id}`).join("&")}`;
  }

  add(files, how) {
    for (const file of files) {
      const item = this.item({ file, how, name: file.name, thumb: URL.createObjectURL(file) });
      if (file.size > this.limits.bytes) {
        this.fails(item, `${file.name} has ${file.size.toLocaleString("en")} bytes, more than the limit of ${this.limits.bytes.toLocaleString("en")}`);
      }
      this.items.push(item);
    }
    this.tell();
    this.pump();
  }

  /* The same image once more, with another model, factor or format. */
  again(item, how) {
    this.items.push(this.item({ how, name: item.name, thumb: item.thumb, from: item.job.id }));
    this.tell();
    this.pump();
    return this.items.at(-1);
  }

  item(more) {
    const item = { key: ++this.number, name: "", state: "waiting", progress: 0, error: null, stop: new AbortController(), ...more };
    if (item.job) this.take(item, item.job);
    return item;
  }

  async remove(item) {
    this.items = this.items.filter((other) => other !== item);
    item.stop.abort();
    const shared = this.items.some((other) => other.thumb === item.thumb);
    if (item.thumb?.startsWith("blob:") && !shared) URL.revokeObjectURL(item.thumb);
    this.tell();
    if (item.job) await ask(`/v1/jobs/${item.job.id}`, { method: "DELETE" }).catch(() => {});
    this.pump();
  }

  get unsent() {
    return this.items.filter((item) => item.file && (item.state === "waiting" || item.state === "sending")).length;
  }

  pump() {
    const count = (test) => this.items.filter(test).length;
    const most = Math.min(UNDERWAY, this.limits.per_client);
    for (const item of this.items) {
      const underway = count((other) => ["sending", "queued", "running"].includes(other.state));
      if (count((other) => other.state === "sending") >= SENDING || underway >= most) break;
      if (item.state === "waiting" && !(item.notBefore > Date.now())) this.send(item);
    }
    this.watch();
  }

  async send(item) {
    item.state = "sending";
    const form = new FormData();
    for (const [name, value] of Object.entries(item.how)) if (value) form.append(name, value);
    if (item.from) form.append("job", item.from);
    else form.append("image", item.file, item.name);
    try {
      const job = await send(form, (share) => { item.progress = share; this.tell(); }, item.stop.signal);
      if (this.items.includes(item)) this.take(item, job);
      else await ask(`/v1/jobs/${job.id}`, { method: "DELETE" }).catch(() => {});
    } catch (refused) {
      if (refused.status === 429) {
        Object.assign(item, { state: "waiting", notBefore: Date.now() + 1000 * (refused.again || 2) });
        setTimeout(() => this.pump(), 1000 * (refused.again || 2) + 20);
      } else if (refused.status === 401) {
        item.state = "waiting";
        this.dispatchEvent(new Event("locked"));
      } else if (refused.status !== -1) this.fails(item, refused.message);
    }
    this.tell();
    this.pump();
  }

  fails(item, sentence) {
    Object.assign(item, { state: "failed", error: sentence });
    this.dispatchEvent(new CustomEvent("over", { detail: item }));
  }

  take(item, job) {
    const news = item.state !== job.state && OVER.includes(job.state) && item.job;
    Object.assign(item, { job, name: job.name, state: job.state, progress: job.progress, error: job.error });
    if (job.state === "done" && !item.thumb) item.thumb = `/v1/jobs/${job.id}/view/before?side=300`;
    if (news) this.dispatchEvent(new CustomEvent("over", { detail: item }));
  }

  /* Look at the jobs while there are some that are not over. */
  watch() {
    if (this.looking || !this.items.some((item) => item.job && !OVER.includes(item.state))) return;
    this.looking = setTimeout(async () => {
      try {
        const { jobs } = await json("/v1/jobs");
        const found = new Map(jobs.map((job) => [job.id, job]));
        for (const item of this.items.filter((one) => one.job && !OVER.includes(one.state))) {
          const job = found.get(item.job.id);
          if (job) this.take(item, job);
          else this.fails(item, `${item.name} is no longer known to the server`);
        }
        this.tell();
      } catch (refused) {
        this.dispatchEvent(new CustomEvent("lost", { detail: refused.message }));
      }
      this.looking = 0;
      this.pump();
    }, LOOK);
  }

  tell() {
    this.dispatchEvent(new Event("change"));
  }
}
