// The views. Each is given the rest of the route and returns { element, refresh?, end?, keep? }.

import { get, lines, remove } from "./api.js";
import { age, badge, complain, h, notify } from "./dom.js";
import { terminalView } from "./terminal.js";

const MAX_LINES = 1000; // log lines kept on the page
const RETRY = 3000; // ms until a broken stream is opened again

const podsPath = (namespace) => `api/v1/pod/${encodeURIComponent(namespace || " ")}?itemsPerPage=100&page=1&sortBy=a,name`;
const podPath = (namespace, name) => `api/v1/pod/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
const podLink = (namespace, name, tab = "logs") => `#/pod/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}/${tab}`;

const heading = (title, ...more) => h("div", { class: "title" }, h("h1", {}, title), ...more);
const empty = (text) => h("p", { class: "empty" }, text);

// The pods of one namespace, or of every one that this person may see.
async function visiblePods(state, namespace) {
  if (namespace) return (await get(podsPath(namespace))).pods;
  try {
    if (state.wide) return (await get(podsPath(""))).pods;
  } catch (error) {
    if (error.status !== 403) throw error;
    state.wide = false; // not this person: from now on ask namespace by namespace
  }
  const each = await Promise.all(state.namespaces.map((name) => get(podsPath(name))));
  return each.flatMap((list) => list.pods);
}

export function overview(state) {
  const tiles = h("div", { class: "tiles" });
  const events = h("ul", { id: "events", "data-testid": "events", role: "log", "aria-label": "Events" });
  const source = new EventSource("api/v1/events");
  source.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    const time = h("time", {}, event.time.slice(11, 19));
    events.prepend(h("li", { class: event.type === "Warning" ? "warn" : "" }, time, h("b", {}, event.reason), h("span", {}, event.message)));
    while (events.children.length > 12) events.lastChild.remove();
  };
  const tile = (number, label, kind = "") => h("div", { class: `tile ${kind}` }, h("b", {}, String(number)), h("span", {}, label));
  const refresh = async () => {
    const pods = await visiblePods(state, "");
    const count = (...names) => pods.filter((pod) => names.includes(pod.status)).length;
    const troubled = pods.length - count("Running", "Completed", "Pending");
    tiles.replaceChildren(
      tile(state.namespaces.length, "namespaces you can see"), tile(count("Running"), "pods running", "good"),
      tile(count("Pending"), "pods waiting", "wait"), tile(troubled, "pods in trouble", troubled ? "bad" : ""),
    );
  };
  const element = h("div", {}, heading("Overview"), tiles, h("section", { class: "card" }, h("h2", {}, "What is happening"), events));
  return { element, refresh, end: () => source.close() };
}

export function namespaces(state) {
  const body = h("tbody");
  const refresh = async () => {
    body.replaceChildren(...state.namespaces.map((name) => h("tr", { "data-namespace": name },
      h("td", {}, h("a", { href: `#/pods/${name}` }, name)), h("td", {}, badge("Active")))));
    if (!state.namespaces.length) body.replaceChildren(h("tr", {}, h("td", { colspan: 2 }, empty("Your groups open no namespace."))));
  };
  const head = h("tr", {}, h("th", { scope: "col" }, "Name"), h("th", { scope: "col" }, "Status"));
  const table = h("table", { id: "namespaces", "data-testid": "namespaces" }, h("thead", {}, head), body);
  return { element: h("div", {}, heading("Namespaces"), h("div", { class: "card scroll" }, table)), refresh };
}

function podRow(pod) {
  const { name, namespace, creationTimestamp } = pod.objectMeta;
  return h("tr", { "data-pod": name, "data-namespace": namespace },
    h("td", {}, h("a", { href: podLink(namespace, name) }, name)), h("td", { class: "wide" }, namespace),
    h("td", {}, badge(pod.status)), h("td", { class: "number wide" }, String(pod.restartCount)),
    h("td", { class: "number" }, age(creationTimestamp)), h("td", { class: "widest" }, pod.nodeName),
    h("td", { class: "wide" }, h("a", { class: "quiet", href: podLink(namespace, name, "shell"), "aria-label": `Terminal in ${name}` }, "Terminal")));
}

export function pods(state, [namespace = ""]) {
  const body = h("tbody");
  const message = h("div", { id: "pods-message", "data-testid": "pods-message" });
  const columns = [["Name"], ["Namespace", "wide"], ["Status"], ["Restarts", "number wide"], ["Age", "number"], ["Node", "widest"]];
  const head = columns.map(([label, kind = ""]) => h("th", { scope: "col", class: kind }, label));
  const table = h("table", { id: "pods", "data-testid": "pods" },
    h("thead", {}, h("tr", {}, head, h("th", { scope: "col", class: "wide" }, h("span", { class: "hidden" }, "Actions")))), body);
  const refresh = async () => {
    try {
      const list = await visiblePods(state, namespace);
      table.hidden = !list.length;
      body.replaceChildren(...list.map(podRow));
      message.replaceChildren(...(list.length ? [] : [empty("No pods that you may see.")]));
    } catch (error) {
      if (error.status !== 403) throw error;
      table.hidden = true;
      message.replaceChildren(h("p", { class: "refusal" }, h("strong", {}, "Forbidden. "), error.message));
    }
  };
  const title = heading("Pods", h("span", { class: "muted" }, namespace ? `in ${namespace}` : "in every namespace you can see"));
  return { element: h("div", {}, title, h("div", { class: "card scroll" }, table, message)), refresh };
}

function logView(namespace, name) {
  const path = `api/v1/log/stream/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
  const log = h("pre", { id: "log", "data-testid": "log", role: "log", "aria-live": "polite", "aria-label": "Log", tabindex: "0" });
  const status = h("span", { id: "log-status", "data-testid": "log-status", role: "status" });
  const button = h("button", { id: "follow", type: "button", onclick: () => (stop ? pause() : follow()) });
  const download = h("a", { id: "download", class: "button", download: `${name}.log`, href: path.replace("/stream/", "/file/") }, "Download");
  let stop = null;

  const say = (text, kind) => ((status.textContent = text), (status.dataset.state = kind));
  const show = (parts) => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(...parts.map((text) => h("span", { class: text.slice(21, 26).trim().toLowerCase() }, text + "\n")));
    while (log.children.length > MAX_LINES) log.firstChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  const pause = () => {
    stop?.abort();
    stop = null;
    button.textContent = "Follow";
    say("paused", "closed");
  };
  async function follow() {
    const mine = (stop = new AbortController());
    button.textContent = "Pause";
    say("following", "open");
    log.replaceChildren();
    try {
      await lines(path, mine.signal, show);
    } catch (error) {
      if (error.status) return pause(), say(error.message, "closed");
    }
    if (stop !== mine) return;
    say("the stream ended; trying again", "closed");
    setTimeout(() => stop === mine && follow(), RETRY);
  }
  follow();
  const element = h("section", { class: "card dark", "aria-label": "Log" }, h("div", { class: "strip" }, status, button, download), log);
  return { element, end: pause };
}

function askDelete(namespace, name) {
  const go = async () => {
    dialog.close();
    try {
      await remove(podPath(namespace, name));
      notify("Deleted", `${name} is gone; its Deployment has started another.`, "good");
      location.hash = `#/pods/${namespace}`;
    } catch (error) {
      complain(error);
    }
  };
  const dialog = h("dialog", { "aria-labelledby": "ask", onclose: () => dialog.remove() },
    h("h2", { id: "ask" }, `Delete ${name}?`), h("p", {}, "The pod is stopped, and its open terminals end."),
    h("div", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close() }, "Keep it"),
      h("button", { id: "confirm-delete", type: "button", class: "danger", onclick: go }, "Delete")));
  document.body.append(dialog);
  dialog.showModal();
}

function podHead(namespace, name) {
  const facts = h("p", { class: "facts muted" });
  const load = async () => {
    const pod = await get(podPath(namespace, name));
    const ago = `started ${age(pod.objectMeta.creationTimestamp)} ago`;
    facts.replaceChildren(badge(pod.status), ` ${pod.restartCount} ${pod.restartCount === 1 ? "restart" : "restarts"} · ${ago} · ${pod.nodeName} · ${pod.containerImages[0]}`);
    return pod;
  };
  const erase = h("button", { id: "delete", "data-testid": "delete", type: "button", class: "danger", onclick: () => askDelete(namespace, name) }, "Delete");
  return { load, element: h("div", {}, heading(name, h("span", { class: "muted" }, namespace), erase), facts) };
}

export function pod(state, [namespace = "", name = "", tab = "logs"]) {
  const head = podHead(namespace, name);
  const link = (key, text) => h("a", { id: `tab-${key}`, href: podLink(namespace, name, key), "aria-current": key === tab ? "page" : false }, text);
  const element = h("div", {}, head.element, h("div", { class: "tabs" }, link("logs", "Logs"), link("shell", "Terminal")));
  let inner = null;
  let ended = false;
  const refresh = async () => {
    const loaded = await head.load();
    if (inner || ended) return;
    const container = encodeURIComponent(loaded.containers[0].name);
    const toast = (text) => notify("The cluster says", text, "wait");
    inner = tab === "shell" ? terminalView(`${podPath(namespace, name)}/shell/${container}`, { toast }) : logView(namespace, name);
    element.append(inner.element);
  };
  return { element, refresh, end: () => ((ended = true), inner?.end()), keep: tab === "shell" };
}
