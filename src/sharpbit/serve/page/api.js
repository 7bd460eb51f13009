/* What the page asks the server, and the secrets that it shows for it. */

const CLIENT = "sharpbit-client";

/* A name that nobody guesses, in whose list jobs stand; it makes a reload find them. */
function client() {
  let name = localStorage.getItem(CLIENT);
  if (!name) {
    name = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    localStorage.setItem(CLIENT, name);
  }
  return name;
}

export class Refused extends Error {
  constructor(status, sentence, again) {
    super(sentence);
    Object.assign(this, { status, again });
  }
}

export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { [CLIENT]: client(), ...options.headers } });
  } catch {
    throw new Refused(0, "the server does not answer; is it still running?");
  }
  if (!response.ok) {
    const { error } = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
    throw new Refused(response.status, error, Number(response.headers.get("retry-after")));
  }
  return response;
}

export const json = async (path, options) => (await ask(path, options)).json();

/* Send a form; `progress` is called with the share that is sent. Gives the job. */
export function send(form, progress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/v1/jobs");
    request.setRequestHeader(CLIENT, client());
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => progress(event.loaded / event.total));
    request.addEventListener("error", () => reject(new Refused(0, "the upload was cut off; is the server still running?")));
    request.addEventListener("abort", () => reject(new Refused(-1, "cancelled")));
    request.addEventListener("load", () => {
      if (request.status === 202) resolve(request.response);
      else {
        const sentence = request.response?.error ?? `the server answered ${request.status}`;
        reject(new Refused(request.status, sentence, Number(request.getResponseHeader("retry-after"))));
      }
    });
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/* A token that came in the address becomes a cookie, and leaves the address. */
export async function enter(token) {
  await ask("/v1/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
}

export function tokenOfAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname);
  return token;
}
