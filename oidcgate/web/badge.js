// Who is signed in, for how long, the way out and back in. Touches nothing of the page: one element with a closed
// shadow root, styles that no policy speaks of, text only as text. Asking /badge does not count as use of the session.
(() => {
  "use strict";
  const doc = document, own = doc.currentScript, now = () => Date.now() / 1e3;
  if (!own || window !== top || !doc.adoptedStyleSheets) return;
  // Not own.src: a <base> of the page would lead elsewhere.
  const base = location.origin + own.getAttribute("src").replace("badge.js", ""), KEY = "oidcgate-hidden";
  own.remove();
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`:host{all:initial!important;position:fixed!important;inset:auto 10px 10px auto!important;z-index:2147483647!important;pointer-events:none!important}
@media print{:host{display:none!important}}
aside{--a:LIGHT;--o:ON_LIGHT;color-scheme:light dark;font:14px/1.45 system-ui,sans-serif;color:CanvasText;display:flex;flex-direction:column;align-items:end;gap:8px;max-width:min(22rem,100vw - 20px)}
@media (prefers-color-scheme:dark){aside{--a:DARK;--o:ON_DARK}}
[hidden]{display:none!important}
section{background:Canvas;border:1px solid GrayText;border-radius:12px;padding:12px;box-shadow:0 4px 20px #0005;overflow-wrap:anywhere}
section,button{pointer-events:auto}
p{margin:0}
p:first-child{font-weight:600}
nav{display:flex;gap:8px;margin-top:8px}
button,a{font:inherit;color:var(--a);background:Canvas;border:1px solid;border-radius:8px;padding:3px 10px;cursor:pointer;text-decoration:none}
.main{background:var(--a);color:var(--o)}
.pill{width:32px;height:32px;padding:0;border:2px solid Canvas;border-radius:50%;font-size:12px}
:focus-visible{outline:3px solid var(--a);outline-offset:2px}`);

  const make = (tag, attributes, ...children) => {
    const element = doc.createElement(tag);
    for (const name in attributes) element.setAttribute(name, attributes[name]);
    element.append(...children);
    return element;
  };
  const button = (text, kind, act) => {
    const element = make("button", { type: "button", class: kind }, text);
    element.onclick = act;
    return element;
  };
  const put = (element, text) => element.textContent === text || (element.textContent = text);
  const [who, account, left, says, why] = [..."-----"].map(() => make("p"));
  const pill = button("", "main pill", () => open(card.hidden));
  const card = make("section", { id: "card", hidden: "" }, who, account, left, make("nav", {},
    make("a", { href: base + "sign_out", class: "main" }, "Sign out"), make("a", { href: base + "session" }, "Sessions"),
    button("Hide", "", () => { keep(1); open(false); })));
  const again = button("", "main", () => act()), later = button("Later", "", () => { quiet = 120; show(); });
  const banner = make("section", { hidden: "" }, make("div", { role: "status" }, says, why), make("nav", {}, again, later));
  const panel = make("aside", { "aria-label": "Your session", lang: "en" }, banner, card, pill), host = make("div");
  const root = host.attachShadow({ mode: "closed" });
  root.adoptedStyleSheets = [sheet];
  root.append(panel);
  pill.setAttribute("aria-controls", "card");
  panel.onkeydown = (event) => {
    if (event.key === "Escape" && !card.hidden) event.stopPropagation(), open(false), pill.focus();
  };

  // Warns ten minutes before the end, and once more two minutes before it.
  let state = {}, first, over, act, timer, asking, asked = 0, ahead = 0, quiet = 600, hidden;
  const keep = (value) => {
    hidden ||= value;
    try { hidden ? sessionStorage.setItem(KEY, 1) : (hidden = sessionStorage.getItem(KEY)); } catch {}
  };
  // The UI's own login page is no place to come back to.
  let place = "/";
  const note = () => {
    const here = location.pathname + location.search + location.hash;
    if (!/(#!?\/?|\/c\/[^/#]+\/)(login|token|error)(?=[/?&#]|$)/.test(here)) place = here;
  };
  const signIn = (more) => {
    note();
    const [path, hash] = place.split(/#(.*)/s).map(encodeURIComponent);
    location.assign(`${base}start?rd=${path}&f=${hash || ""}${more}`);
  };
  const remaining = () => state.session_ends - now() - ahead;
  const span = (seconds) => {
    const minutes = Math.max(0, Math.floor(seconds / 60));
    return minutes > 59 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : minutes === 1 ? "1 minute" : `${minutes} minutes`;
  };
  const open = (wanted) => { card.hidden = !wanted; show(); };

  function show() {
    if (!first && !over) return;
    const seconds = remaining(), other = !over && first !== state.account, warns = !over && !other && seconds < quiet;
    put(pill, state.initials);
    pill.setAttribute("aria-label", `${state.initials}: signed in as ${state.who}`);
    put(who, state.who);
    put(account, state.account === state.who ? "" : state.account);
    put(left, `The session ends in ${span(seconds)}, or after ${span(state.idle)} without use.`);
    put(says, over ? "You are signed out" : other ? `Now signed in as ${state.who}` : `Your session ends in ${span(seconds)}`);
    put(why, over ? "What is on this page may be old." : other ? "Somebody else opened this page." : "Open terminals will close.");
    put(again, over ? "Sign in again" : other ? "Load again" : "Sign in again now");
    act = other ? () => location.reload() : () => signIn(over ? "" : "&again=1");
    again.hidden = warns && !state.renews;
    later.hidden = !warns || seconds < 120;
    banner.hidden = !(over || other || warns);
    card.hidden ||= over;
    pill.hidden = over || hidden;
    pill.setAttribute("aria-expanded", !card.hidden);
    if (!host.isConnected) doc.documentElement.append(host);
  }

  async function check() {
    clearTimeout(timer);
    if (doc.hidden || asking) return;
    asking = true;
    asked = now();
    try {
      const reply = await fetch(base + "badge", { cache: "no-store", signal: AbortSignal.timeout(1e4) });
      if (reply.ok) {
        state = await reply.json();
        ahead = state.now - now();
        first ??= state.account;
        over = false;
        note();
      } else if (reply.status === 401) over = true;
      // Any other answer, or none, says nothing about the session.
    } catch {}
    asking = false;
    show();
    timer = setTimeout(check, 1e3 * Math.min(30 + 30 * Math.random(), over || !first ? 60 : Math.max(5, remaining() + 1)));
  }
  // Something happened that may mean more than time does; still, one question in five seconds at most.
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(check, 1e3 * Math.max(0, asked + 5 - now()));
  };
  addEventListener("hashchange", () => { note(); soon(); });
  addEventListener("focus", soon);
  addEventListener("pointerdown", (event) => event.target !== host && !card.hidden && open(false), { passive: true });
  doc.addEventListener("visibilitychange", soon);
  // A 401 to the page, seen without laying hands on its fetch; in an older browser, time will tell.
  try {
    new PerformanceObserver((list) => {
      if (!over && list.getEntries().some((entry) => entry.responseStatus === 401)) soon();
    }).observe({ type: "resource" });
  } catch {}
  keep();
  note();
  check();
})();
