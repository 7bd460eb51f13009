/* The page of a server: its models, limits and token. */

import { $, alerts, bytes, make, show } from "./page.js";
import { Refused, enter, json, tokenOfAddress } from "./api.js";
import { Queue } from "./queue.js";

const queue = new Queue();

function unlock() {
  if ($("door").open) return;
  $("door").showModal();
}

async function begin() {
  try {
    const token = tokenOfAddress();
    if (token) await enter(token);
    const { models } = await json("/v1/models");
    $("model").append(...models.map(({ name }) => Object.assign(make("option", "", name), { value: name })));
    await queue.begin();
    const { limits } = queue;
    $("takes").textContent = `or choose some, of up to ${bytes(limits.bytes)} and ${Math.round(limits.pixels / 1e6)} megapixels. Results are kept for ${Math.round(limits.keep / 60)} minutes.`;
  } catch (refused) {
    if (refused instanceof Refused && refused.status === 401) unlock();
    else alerts(refused.message);
  }
}

$("door-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await enter($("token").value.trim());
    $("door").close();
    await begin();
  } catch (refused) {
    alerts(refused.message);
  }
});
queue.addEventListener("locked", unlock);
show(queue);
begin();
