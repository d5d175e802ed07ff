// A terminal in a <pre>, over SockJS' websocket framing spoken directly.

import { get, screen as shown } from "./api.js";
import { h } from "./dom.js";

const MAX_ROWS = 1000; // rows kept for scrolling back

// A small screen: one cursor, and the handful of control codes that a line editor sends.
class Screen {
  constructor(element) {
    this.element = element;
    this.clear();
  }

  clear() {
    this.rows = [""];
    this.column = 0;
  }

  write(text) {
    for (const [token] of text.matchAll(/\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]|\x1b/g)) this.put(token);
    this.rows = this.rows.slice(-MAX_ROWS);
    const last = this.rows.at(-1);
    const cursor = h("span", { class: "cursor" }, last[this.column] || " ");
    const before = [...this.rows.slice(0, -1), last.slice(0, this.column)].join("\n");
    this.element.replaceChildren(before, cursor, last.slice(this.column + 1));
    this.element.scrollTop = this.element.scrollHeight;
  }

  put(token) {
    const last = this.rows.length - 1;
    const row = this.rows[last];
    if (token === "\r") this.column = 0;
    else if (token === "\n") this.rows.push(""), (this.column = 0);
    else if (token === "\b") this.column = Math.max(0, this.column - 1);
    else if (token === "\x1b[K") this.rows[last] = row.slice(0, this.column);
    else if (token === "\x1b[2J") this.clear();
    else if (token >= " ") {
      this.rows[last] = row.slice(0, this.column).padEnd(this.column) + token + row.slice(this.column + 1);
      this.column += token.length;
    }
  }
}

const KEYS = {
  Enter: "\r", Backspace: "\x7f", Escape: "\x1b",
  ArrowUp: "\x1b[A", ArrowDown: "\x1b[B", ArrowRight: "\x1b[C", ArrowLeft: "\x1b[D",
};

// What a key press sends, or nothing: Tab stays with the browser, so that the keyboard can leave the terminal.
function keystroke(event) {
  if (event.metaKey || event.altKey) return "";
  if (event.ctrlKey) {
    const letter = event.key.toLowerCase();
    const selecting = letter === "c" && String(getSelection());
    return /^[cdlu]$/.test(letter) && !selecting ? String.fromCharCode(letter.charCodeAt(0) - 96) : "";
  }
  return KEYS[event.key] || ([...event.key].length === 1 ? event.key : "");
}

function socketAddress(id) {
  const server = String(Math.floor(Math.random() * 1000)).padStart(3, "0");
  const session = Math.random().toString(36).slice(2).padEnd(8, "0").slice(0, 8);
  const address = new URL(`api/sockjs/${server}/${session}/websocket?${id}`, location.href.split("#")[0]);
  address.protocol = address.protocol.replace("http", "ws");
  return address;
}

// One connection: opens a shell, binds it, and tells `on` what happens. Returns { send, close }.
async function connect(path, on) {
  const { id } = await get(path);
  const socket = new WebSocket(socketAddress(id));
  let reason = "the connection was lost";
  const send = (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify([JSON.stringify(message)]));
  socket.onmessage = ({ data }) => {
    if (data[0] === "o") send({ Op: "bind", SessionID: id }), send({ Op: "resize", Cols: 100, Rows: 30 }), on.open();
    if (data[0] === "a") for (const text of JSON.parse(data.slice(1))) on.message(JSON.parse(text));
    if (data[0] === "c") reason = JSON.parse(data.slice(1))[1];
  };
  socket.onclose = (event) => on.close(event.reason || reason);
  return { send, close: () => ((socket.onclose = null), socket.close()) };
}

// The view: returns its element and a function that ends it.
export function terminalView(path, { toast }) {
  const status = h("span", { id: "terminal-status", "data-testid": "terminal-status", role: "status" }, "connecting…");
  const reopen = h("button", { id: "terminal-reopen", type: "button", hidden: true, onclick: () => ((shown.keep = false), start()) }, "Open again");
  const pre = h("pre", {
    id: "terminal", "data-testid": "terminal", tabindex: "0", role: "textbox", "aria-multiline": "true",
    "aria-label": "Terminal: type commands here; Tab leaves it",
  });
  const line = h("input", { id: "terminal-line", "aria-label": "Command", placeholder: "Type a command", autocapitalize: "off", autocomplete: "off" });
  const form = h("form", { class: "touch", onsubmit: submit }, line, h("button", {}, "Run"));
  const screen = new Screen(pre);
  let connection = null;
  let ended = false;

  const say = (text, kind) => ((status.textContent = text), (status.dataset.state = kind));
  const type = (data) => data && connection?.send({ Op: "stdin", Data: data });
  const closed = (reason) => {
    connection = null;
    reopen.hidden = false;
    say(`connection closed: ${reason}`, "closed");
  };

  async function start() {
    reopen.hidden = true;
    screen.clear();
    screen.write("");
    say("connecting…", "connecting");
    try {
      const opened = await connect(path, {
        open: () => (say("connected", "open"), (shown.keep = true), pre.focus({ preventScroll: true })),
        message: ({ Op, Data }) => (Op === "stdout" ? screen.write(Data) : Op === "toast" && toast(Data)),
        close: closed,
      });
      if (ended) opened.close();
      else connection = opened;
    } catch (error) {
      closed(error.message);
    }
  }

  function submit(event) {
    event.preventDefault();
    type(line.value + "\r");
    line.value = "";
  }

  pre.addEventListener("keydown", (event) => {
    const data = keystroke(event);
    if (!data) return;
    event.preventDefault();
    type(data);
  });
  pre.addEventListener("paste", (event) => {
    event.preventDefault();
    type(event.clipboardData.getData("text").replace(/\r?\n/g, "\r"));
  });
  start();
  const element = h("section", { class: "card dark", "aria-label": "Terminal" }, h("div", { class: "strip" }, status, reopen), pre, form);
  return { element, end: () => ((ended = true), connection?.close()) };
}
