// Calls to the API, and what to do when it no longer knows us. All addresses are relative to the page.

const RELOAD_PAUSE = 10_000; // ms; a second 401 right after a reload is shown, so that the page can never loop

// While this is set, only a click leads to the login: what is on the screen would be lost, and cannot be had again.
export const screen = { keep: false };

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// A 401 means that whoever stands in front has no session for us: only a document request can lead to a login.
// The address keeps its #fragment over a reload.
function reloadOnce() {
  if (screen.keep) return;
  const last = Number(sessionStorage.getItem("reloaded-at") || 0);
  if (Date.now() - last < RELOAD_PAUSE) return;
  sessionStorage.setItem("reloaded-at", String(Date.now()));
  location.reload();
}

async function failure(reply) {
  const text = await reply.text();
  let message = text.slice(0, 300) || reply.statusText;
  try {
    const body = JSON.parse(text);
    message = body.message || body.error || message;
  } catch {
    // not JSON: the text itself is the message
  }
  return new ApiError(reply.status, message);
}

export async function open(path, options = {}) {
  const reply = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
  if (reply.ok) return reply;
  if (reply.status === 401) reloadOnce();
  throw await failure(reply);
}

export async function get(path, options) {
  const body = await (await open(path, options)).json();
  const refused = (body.errors || []).map((error) => error.ErrStatus);
  // A list answers 200 with the refusal inside.
  if (refused.length && refused[0].code === 401) reloadOnce();
  if (refused.length) throw new ApiError(refused[0].code, refused[0].message);
  return body;
}

export function remove(path) {
  return open(path, { method: "DELETE" });
}

// Reads a text reply as it arrives, and hands whole lines to `each`; ends with the reply.
export async function lines(path, signal, each) {
  const reader = (await open(path, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    if (parts.length) each(parts);
  }
}
