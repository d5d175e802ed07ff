// The few helpers that every view uses. Text always goes in as text nodes, never as HTML.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat());
  return element;
}

export const $ = (id) => document.getElementById(id);

export function age(timestamp) {
  const seconds = Math.max(0, (Date.now() - Date.parse(timestamp)) / 1000);
  if (seconds < 60) return `${Math.floor(seconds)}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86400)}d`;
}

const KINDS = { Running: "good", Completed: "done", Pending: "wait", Active: "good" };

export function badge(status) {
  return h("span", { class: `badge ${KINDS[status] || "bad"}` }, status);
}

let hiding;

// Shows a message until it is closed; good news goes by itself.
export function notify(title, text, kind = "bad") {
  const notice = $("notice");
  clearTimeout(hiding);
  const close = h("button", { type: "button", "aria-label": "Close this message", onclick: () => (notice.hidden = true) }, "×");
  notice.className = kind;
  notice.replaceChildren(h("div", {}, h("strong", {}, title), h("p", {}, text)), close);
  notice.hidden = false;
  if (kind === "good") hiding = setTimeout(() => (notice.hidden = true), 5000);
}

const TITLES = { 401: "Not signed in", 403: "Forbidden", 404: "Not found" };

export function complain(error) {
  if (error.name === "AbortError") return;
  const advice = error.status === 401 ? `${error.message.replace(/\.?$/, ".")} Your next click leads to the login.` : error.message;
  notify(error.status ? `${TITLES[error.status] || "The API failed"} (${error.status})` : "No connection", advice);
}
