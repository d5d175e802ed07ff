"""
`oidcgate sessions`: who is signed in, and an end to a session, by the admin listener of a running gate.

Edge. The configuration says where that listener is and which file holds its token; nothing else of it is used. What is
printed may come from a stranger's browser, so that a terminal gets no control characters of it.
"""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from oidcgate.errors import ConfigError, OidcgateError, Problem

NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
MOST_ANSWER = 32 << 20  # bytes; a list of a gate ends earlier
HEADINGS: Final = ("SESSION", "WHO", "SITE", "ADDRESS", "SIGNED IN", "LAST SEEN", "OPEN")
LOCAL: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where one reaches what listens on every address
WAIT: Final = 15.0  # seconds for the whole answer
HOW_TO_ALLOW: Final = (
    "is needed: put a token of your own into a file that the gate and you alone can read, name it here,"
    " and send the gate SIGHUP"
)


class SessionsError(OidcgateError):
    """The running gate did not do it; the message says what to do."""


def add_sessions(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The options of ``sessions``."""
    command = commands.add_parser("sessions", help="list who is signed in at a running gate, or end a session")
    command.add_argument("what", choices=["list", "end"], help="everybody's sessions, or an end to one")
    command.add_argument("name", nargs="?", metavar="NAME", help="the session to end, as the list names it")
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="the running gate's own")
    command.add_argument("--json", action="store_true", help="print objects for programs")


def sessions(options: argparse.Namespace) -> int:
    """
    Do it: 0 when it is done, 1 when there is no such session.

    Raises:
        ConfigError: the configuration or the arguments do not allow it.
        SessionsError: the running gate does not.
    """
    import asyncio  # takes long to load, and kubectl's plugin goes by this module for each command

    name = _name(options)
    gate = AdminListener(options.config)
    answer = asyncio.run(gate.ask(name))
    if name is None:
        print(gate.shown(answer["sessions"], as_json=options.json))
        return 0
    ended = answer["ended"] is True
    if options.json:
        print(json.dumps({"ended": ended}))
    elif ended:
        print(f"{name} has ended, with what the same browser had on other sites of this gate")
    else:
        print(f"there is no session {name}; `oidcgate sessions list` names those there are", file=sys.stderr)
    return 0 if ended else 1


def _name(options: argparse.Namespace) -> str | None:
    """The session to end; None to list."""
    name: str | None = options.name
    if options.what == "list":
        if name is not None:
            raise ConfigError([Problem("NAME", "is for `sessions end`; the list is everybody's")])
        return None
    if name is None:
        raise ConfigError([Problem("NAME", "is needed: which session to end; `oidcgate sessions list` names them")])
    if not NAME.fullmatch(name):
        raise ConfigError([Problem("NAME", f"{name!r} is no session's name; `oidcgate sessions list` names them")])
    return name


class AdminListener:
    """
    The admin listener that a configuration names.

    Raises:
        ConfigError: it names none that could be asked for sessions.
    """

    def __init__(self, path: Path) -> None:
        from oidcgate.config import load_config
        from oidcgate.config.addresses import parse_listen
        from oidcgate.config.secret import SecretFile, UnusableSecret

        admin = load_config(path, files=False).admin
        if admin is None:
            raise ConfigError([Problem("admin", "is null; sessions are listed and ended by the admin listener")])
        if admin.token_file is None:
            raise ConfigError([Problem("admin.token_file", HOW_TO_ALLOW)])
        self.listen = parse_listen(admin.listen)
        if not self.listen.path and not self.listen.port:
            raise ConfigError([Problem("admin.listen", "needs a port of its own: the system chooses with 0")])
        try:
            self._token = SecretFile(Path(admin.token_file)).read()
        except UnusableSecret as error:
            raise ConfigError([Problem("admin.token_file", str(error))]) from None
        self._token_file = admin.token_file

    async def ask(self, name: str | None) -> dict[str, Any]:
        """
        ``GET /sessions``, or ``DELETE /sessions/<name>``: what is answered.

        Raises:
            SessionsError: nobody answers, the token is not taken, or it is not a gate that answers.
        """
        status, text = await self._fetch("GET" if name is None else "DELETE", name)
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        wanted = "sessions" if name is None else "ended"
        if status in (200, 404) and isinstance(answer, dict) and wanted in answer:
            return answer
        raise SessionsError(self._refusal(status, answer))

    def shown(self, rows: Any, *, as_json: bool) -> str:
        """
        The list, for people or for programs.

        Raises:
            SessionsError: it is none.
        """
        try:
            for_people = table(rows, now=time.time())
        except (AttributeError, KeyError, TypeError):
            raise SessionsError(self._refusal(200, rows)) from None
        return json.dumps(rows, indent=2) if as_json else for_people

    async def _fetch(self, method: str, name: str | None) -> tuple[int, str]:
        import aiohttp

        listen = self.listen
        host = LOCAL.get(listen.host, listen.host) if not listen.path else "localhost"
        authority = f"[{host}]" if ":" in host else host
        url = f"http://{authority}:{listen.port or 80}/sessions" + (f"/{name}" if name is not None else "")
        headers = {"Authorization": f"Bearer {self._token}"}
        connector = aiohttp.UnixConnector(listen.path) if listen.path else aiohttp.TCPConnector()
        timeout = aiohttp.ClientTimeout(total=WAIT)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.request(method, url, headers=headers, allow_redirects=False) as reply,
            ):
                body = bytearray()
                async for piece in reply.content.iter_any():
                    body += piece
                    if len(body) > MOST_ANSWER:
                        raise SessionsError(self._refusal(reply.status, None))
                return reply.status, body.decode(errors="replace")
        except aiohttp.ClientConnectorError as error:
            number = error.os_error.errno or 0  # a name that is not found has a negative one and says so itself
            why = (os.strerror(number) if number > 0 else str(error.os_error.strerror)).lower()
            told = f"nobody answers on admin.listen ({listen}): {why}; is the gate running, here, and with this file?"
            raise SessionsError(told) from None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise SessionsError(f"no answer from admin.listen ({listen}): {error or 'it took too long'}") from None

    def _refusal(self, status: int, answer: object) -> str:
        """What is wrong and what to do about it."""
        if status == 401:
            return (
                f"the gate on {self.listen} does not take the token in {self._token_file}: it reads another file,"
                " or cannot read this one; send it SIGHUP, and see its log"
            )
        if status == 404:
            return (
                f"the gate on {self.listen} runs without admin.token_file, and so without /sessions;"
                " send it SIGHUP to read its configuration anew"
            )
        if status == 503 and isinstance(answer, dict):
            return f"the gate on {self.listen} cannot reach its store: {printable(str(answer.get('message', '')))}"
        return f"what answers on admin.listen ({self.listen}) is no gate: status {status}"


def table(rows: Sequence[dict[str, Any]], *, now: float) -> str:
    """
    Sessions for people, a line each.

    Args:
        rows: as the admin listener lists them; times in seconds since the epoch.
        now: the time, in seconds since the epoch.
    """
    if not rows:
        return "nobody is signed in"
    lines = [HEADINGS, *(tuple(map(printable, _cells(row, now))) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cells(row: dict[str, Any], now: float) -> tuple[str, ...]:
    from oidcgate.web.sessionpage import span

    kinds = [stream["kind"] for stream in row["open"]]
    return (
        row["session"],
        row["email"] or row["subject"],
        row["site"].partition("#")[0].rpartition("/")[2],
        row["address"],
        f"{span(now - row['started'])} ago",
        f"{span(now - row['seen'])} ago",
        ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))) or "-",
    )


def printable(text: str) -> str:
    """The text without what would move a terminal's cursor, or worse."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
