"""
A pretend shell in a pretend container. Pure: keystrokes in, screen bytes out.

Rules: what a line does is a table of small functions; the line editor knows nothing of the commands. Input
and output are what a terminal would carry: Enter is CR, a new line is CR LF, Backspace is DEL or BS, the
arrow keys are `ESC [ A` to `D`.
"""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

MAX_LINE: Final = 4096  # characters; what a Linux terminal holds in canonical mode
CLEAR_SCREEN: Final = "\x1b[2J\x1b[H"
REDRAW: Final = "\r\x1b[K"

_KEYS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1b.|\r\n|[^\x1b]|\x1b", re.DOTALL)
_VARIABLE: Final = re.compile(r"\$\{?(\w+)\}?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the shell runs and for whom; `username` and `groups` are what the API server believes."""

    namespace: str
    pod: str
    container: str
    username: str
    groups: tuple[str, ...] = ()

    @property
    def env(self) -> dict[str, str]:
        """The container's environment."""
        return {
            "HOME": "/root",
            "HOSTNAME": self.pod,
            "KUBERNETES_SERVICE_HOST": "10.43.0.1",
            "KUBERNETES_SERVICE_PORT": "443",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "POD_NAMESPACE": self.namespace,
            "PWD": "/app",
            "TERM": "xterm",
        }

    @property
    def files(self) -> dict[str, str]:
        """The container's files by absolute path."""
        return {
            "/app/README.md": f"# {self.container}\n\nA demo: nothing you type here runs anywhere.\n",
            "/app/config.yaml": f"service: {self.container}\nlisten: 0.0.0.0:8080\nlog: {{level: debug}}\n",
            "/app/server": "\x7fELF (not really)\n",
            "/etc/hostname": f"{self.pod}\n",
            "/etc/hosts": f"127.0.0.1 localhost\n10.42.0.11 {self.pod}\n",
            "/etc/os-release": 'NAME="Demo Linux"\nVERSION="1.0"\n',
        }


@dataclass
class Terminal:
    """One shell. `exited` becomes true after `exit` or Ctrl-D; after that nothing is answered."""

    place: Place
    clock: Callable[[], float]
    exited: bool = False
    _line: str = ""
    _history: list[str] = field(default_factory=list)
    _at: int = 0  # index into the history; its length = the line being typed

    @property
    def prompt(self) -> str:
        """What stands before the cursor on an empty line."""
        return f"{self.place.container}:/app# "

    def start(self) -> str:
        """The first thing on the screen."""
        return self.prompt

    def feed(self, text: str) -> str:
        """What the screen shows in answer to the keystrokes `text`."""
        return "".join(self._key(key) for key in _KEYS.findall(text) if not self.exited)

    def _key(self, key: str) -> str:
        bound = _BINDINGS.get(key)
        if bound is not None:
            return bound(self)
        if not key.isprintable() or len(self._line) >= MAX_LINE:
            return ""
        self._line += key
        return key

    def _enter(self) -> str:
        line, self._line = self._line.strip(), ""
        if line:
            self._history.append(line)
        self._at = len(self._history)
        output = _run(self, line)
        return "\r\n" + output.replace("\n", "\r\n") + ("" if self.exited else self.prompt)

    def _backspace(self) -> str:
        if not self._line:
            return ""
        self._line = self._line[:-1]
        return "\b \b"

    def _interrupt(self) -> str:
        self._line = ""
        return f"^C\r\n{self.prompt}"

    def _end_of_file(self) -> str:
        if self._line:
            return ""
        self.exited = True
        return "exit\r\n"

    def _kill_line(self) -> str:
        self._line = ""
        return REDRAW + self.prompt

    def _redraw(self) -> str:
        return CLEAR_SCREEN + self.prompt + self._line

    def _recall(self, step: int) -> str:
        self._at = min(max(self._at + step, 0), len(self._history))
        self._line = self._history[self._at] if self._at < len(self._history) else ""
        return REDRAW + self.prompt + self._line


_BINDINGS: Final[dict[str, Callable[[Terminal], str]]] = {
    "\r": Terminal._enter,
    "\n": Terminal._enter,
    "\r\n": Terminal._enter,
    "\x7f": Terminal._backspace,
    "\b": Terminal._backspace,
    "\x03": Terminal._interrupt,
    "\x04": Terminal._end_of_file,
    "\x15": Terminal._kill_line,
    "\x0c": Terminal._redraw,
    "\x1b[A": lambda terminal: terminal._recall(-1),
    "\x1b[B": lambda terminal: terminal._recall(1),
}


def _run(terminal: Terminal, line: str) -> str:
    """The output of one command line, ending in a newline unless empty."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        return f"sh: syntax error: {error}\n"
    if not words:
        return ""
    env = terminal.place.env
    words = [_VARIABLE.sub(lambda match: env.get(match[1], ""), word) for word in words]
    command = _COMMANDS.get(words[0])
    return f"sh: {words[0]}: not found\n" if command is None else command(terminal, words[1:])


def _help(_terminal: Terminal, _words: list[str]) -> str:
    return "A pretend shell. It knows: " + " ".join(sorted(_COMMANDS)) + "\n"


def _path(word: str) -> str:
    return word.rstrip("/") if word.startswith("/") else f"/app/{word}".rstrip("/").removesuffix("/.")


def _ls(terminal: Terminal, words: list[str]) -> str:
    files = terminal.place.files
    target = next((word for word in words if not word.startswith("-")), ".")
    path = _path(target)
    below = {name.removeprefix(path + "/"): text for name, text in files.items() if name.startswith(path + "/")}
    sizes = {name.split("/")[0]: len(text) for name, text in below.items()}
    if path in files:
        sizes = {target: len(files[path])}
    if not sizes:
        return f"ls: {target}: No such file or directory\n"
    if any(word.startswith("-") and "l" in word for word in words):
        return "".join(f"-rw-r--r-- 1 root root {size:5} {name}\n" for name, size in sizes.items())
    return "  ".join(sizes) + "\n"


def _cat(terminal: Terminal, words: list[str]) -> str:
    files = terminal.place.files
    return "".join(files.get(_path(word), f"cat: {word}: No such file or directory\n") for word in words)


def _whoami(terminal: Terminal, _words: list[str]) -> str:
    place = terminal.place
    groups = ", ".join(place.groups) or "none"
    return f"root in the container; the API server believes you are {place.username} (groups: {groups})\n"


def _uname(terminal: Terminal, words: list[str]) -> str:
    return f"Linux {terminal.place.pod} 6.12.0-demo x86_64 GNU/Linux\n" if "-a" in words else "Linux\n"


def _date(terminal: Terminal, _words: list[str]) -> str:
    return datetime.fromtimestamp(terminal.clock(), UTC).strftime("%a %b %d %H:%M:%S UTC %Y\n")


def _ps(terminal: Terminal, _words: list[str]) -> str:
    rows = (
        (1, f"/app/server --config config.yaml --name {terminal.place.container}"),
        (38, "sh"),
        (41, "ps"),
    )
    return "  PID USER      CPU  COMMAND\n" + "".join(
        f"{pid:5} root      {cpu:3}  {command}\n" for (pid, command), cpu in zip(rows, (2, 0, 0), strict=True)
    )


def _exit(terminal: Terminal, _words: list[str]) -> str:
    terminal.exited = True
    return ""


_COMMANDS: Final[dict[str, Callable[[Terminal, list[str]], str]]] = {
    "cat": _cat,
    "clear": lambda _terminal, _words: CLEAR_SCREEN,
    "date": _date,
    "echo": lambda _terminal, words: " ".join(words) + "\n",
    "env": lambda terminal, _words: "".join(f"{k}={v}\n" for k, v in terminal.place.env.items()),
    "exit": _exit,
    "help": _help,
    "hostname": lambda terminal, _words: terminal.place.pod + "\n",
    "ls": _ls,
    "ps": _ps,
    "pwd": lambda _terminal, _words: "/app\n",
    "uname": _uname,
    "whoami": _whoami,
}
