// The page's frame: who am I, where am I, and the clock that keeps the view fresh.

import { get, screen } from "./api.js";
import { $, complain, h } from "./dom.js";
import * as views from "./views.js";

const REFRESH = 5000; // ms between two looks at the cluster, while the page is visible
const WHO = 15_000; // ms between two looks at who we are

const state = { namespaces: [], wide: true, expires: 0 };
let view = null;

function showWho(me) {
  $("who-name").textContent = me.username;
  $("who-groups").replaceChildren(...me.groups.map((group) => h("span", { class: "chip", "data-group": group }, group)));
  if (!me.groups.length) $("who-groups").textContent = "no groups";
  // The server's clock counts, whatever this machine's says.
  state.expires = Date.now() + (me.exp - me.now) * 1000;
  showLeft();
}

function showLeft() {
  if (!state.expires) return;
  const seconds = Math.max(0, Math.round((state.expires - Date.now()) / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const text = `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(seconds % 60)}`;
  $("token-left").textContent = seconds ? text : "expired";
  $("token-left").classList.toggle("late", seconds < 60);
}

async function who() {
  const me = await get("api/v1/me");
  state.namespaces = me.namespaces;
  showWho(me);
}

function route() {
  const [name = "", ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  return { name: Object.hasOwn(views, name) ? name : "overview", rest };
}

function showPicker({ name, rest }) {
  const chosen = ["pods", "pod"].includes(name) ? rest[0] || "" : "";
  const names = [...new Set([...state.namespaces, chosen].filter(Boolean))];
  const options = names.map((ns) => h("option", { value: ns, selected: ns === chosen }, ns));
  $("namespace").replaceChildren(h("option", { value: "" }, "All I may see"), ...options);
}

async function refresh() {
  try {
    await view?.refresh?.();
  } catch (error) {
    complain(error);
  }
}

function navigate() {
  const where = route();
  view?.end?.();
  view = views[where.name](state, where.rest);
  screen.keep = Boolean(view.keep);
  $("view").replaceChildren(view.element);
  showPicker(where);
  for (const link of document.querySelectorAll("[data-nav]")) {
    const current = link.dataset.nav === where.name || (where.name === "pod" && link.dataset.nav === "pods");
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${where.rest[1] || where.name} · Demo cluster`;
  return refresh();
}

async function start() {
  try {
    await who();
  } catch (error) {
    complain(error);
  }
  addEventListener("hashchange", navigate);
  await navigate();
  setInterval(() => document.hidden || refresh(), REFRESH);
  setInterval(() => document.hidden || who().catch(complain), WHO);
  setInterval(showLeft, 1000);
  document.addEventListener("visibilitychange", () => document.hidden || (who().catch(complain), refresh()));
}

$("namespace").addEventListener("change", (event) => (location.hash = `#/pods/${event.target.value}`));
document.querySelector("[data-skip]").addEventListener("click", (event) => (event.preventDefault(), $("view").focus()));
start();
