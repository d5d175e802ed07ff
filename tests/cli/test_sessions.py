"""`oidcgate sessions`: against a gate that runs, and against what goes wrong."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oidcgate.cli.main import main
from oidcgate.cli.sessions import MOST_ANSWER, printable, table
from oidcgate.web.sessionpage import session_name
from tests.cli.support import config
from tests.config.support import private
from tests.support.stack import Stack
from tests.web.steps import ask, gate_of, intercept_store, lives, quick_stack
from tests.web.test_sessions import open_websocket

TOKEN = "an-admin-token"


@dataclass
class Operator:
    """Somebody at the command line, beside a running gate."""

    stack: Stack
    config: Path
    capsys: pytest.CaptureFixture[str]

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """`oidcgate sessions …`: exit code, output, standard error."""
        code = await asyncio.to_thread(main, ["sessions", *arguments, "--config", str(self.config)])
        told = self.capsys.readouterr()
        return code, told.out, told.err

    def name_of(self, login: str) -> str:
        """How the list names somebody's session."""
        (live,) = [live for live in lives(self.stack) if login in live.user]
        return session_name(live.session.key)


def gate_config(folder: Path, listen: str, token_file: str | None = "admin-token") -> Path:
    """The configuration's file as far as the command looks at it."""
    return config(folder, ("admin: null", f'admin: {{listen: "{listen}", token_file: {token_file or "null"}}}'))


@pytest.fixture(params=["tcp", "unix"])
async def operator(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Operator]:
    """A running gate, with the admin listener on a port or on a Unix socket."""
    token = private(tmp_path / "admin-token", TOKEN + "\n")
    listen = "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/admin.sock"
    async with quick_stack(config={"admin": {"listen": listen, "token_file": str(token)}}) as stack:
        yield Operator(stack, gate_config(tmp_path, str(gate_of(stack).admin_address)), capsys)


async def test_list(operator: Operator) -> None:
    """A table of who is signed in, where and what is open; and as JSON, as the admin listener has it."""
    assert await operator.run("list") == (0, "nobody is signed in\n", "")
    alice = await operator.stack.browser()
    await operator.stack.browser("bob")
    code, output, errors = await operator.run("list")
    assert (code, errors) == (0, "")
    head, *rows = output.splitlines()
    assert head.split("  ")[0] == "SESSION"
    assert [row.split()[:4] for row in rows] == [
        [operator.name_of(login), f"{login}@example.com", f"localhost:{operator.stack.port}", "127.0.0.1"]
        for login in ("bob", "alice")
    ]
    assert all(row.endswith("less than a minute ago  -") for row in rows)
    code, output, errors = await operator.run("list", "--json")
    assert [row["email"] for row in json.loads(output)] == ["bob@example.com", "alice@example.com"]
    assert (alice.cookie("oidcgate") or "?") not in output
    assert (code, errors) == (0, "")


async def test_end(operator: Operator) -> None:
    """The named session ends at once, the others go on; 1 when there is none of that name."""
    alice, bob = await operator.stack.browser(), await operator.stack.browser("bob")
    name = operator.name_of("alice")
    wire = await open_websocket(alice, operator.stack)
    assert await operator.run("end", name) == (
        0,
        f"{name} has ended, with what the same browser had on other sites of this gate\n",
        "",
    )
    await wire.close()
    assert [(await ask(browser, operator.stack)).status for browser in (alice, bob)] == [401, 200]
    code, output, errors = await operator.run("end", name)
    assert (code, output) == (1, "")
    assert errors == f"there is no session {name}; `oidcgate sessions list` names those there are\n"
    assert await operator.run("end", name, "--json") == (1, '{"ended": false}\n', "")
    assert await operator.run("end", operator.name_of("bob"), "--json") == (0, '{"ended": true}\n', "")


async def test_another_token(operator: Operator) -> None:
    """A token that the gate does not take: which file it was, and what to do; the token itself is not told."""
    other = private(operator.config.parent / "other-token", "geheim")
    operator.config.write_text(operator.config.read_text().replace("admin-token", "other-token"))
    code, output, errors = await operator.run("list")
    assert (code, output) == (1, "")
    assert f"does not take the token in {other}" in errors
    assert "SIGHUP" in errors
    assert "geheim" not in errors


async def test_without_its_store(operator: Operator) -> None:
    """A gate that cannot reach its store says so."""
    await operator.stack.browser()
    gate: Any = gate_of(operator.stack)
    gate.register._store = intercept_store(operator.stack)
    gate.register._store.is_down = True
    code, output, errors = await operator.run("list")
    assert (code, output) == (1, "")
    assert "cannot reach its store: " in errors


async def test_gate_without_a_token_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A gate that was started before the file was named has no such path: reload it."""
    private(tmp_path / "admin-token", TOKEN)
    async with quick_stack(config={"admin": {"listen": "127.0.0.1:0"}}) as stack:
        operator = Operator(stack, gate_config(tmp_path, str(gate_of(stack).admin_address)), capsys)
        for arguments in (["list"], ["end", "abc"]):
            code, output, errors = await operator.run(*arguments)
            assert (code, output) == (1, "")
            assert "runs without admin.token_file" in errors


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_nobody_answers(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody listens: where it was, why, and what to look at."""
    private(tmp_path / "admin-token", TOKEN)
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{taken.getsockname()[1]}" if kind == "tcp" else f"unix:{tmp_path}/none.sock"
        assert main(["sessions", "list", "--config", str(gate_config(tmp_path, listen))]) == 1
    told = capsys.readouterr()
    why = "connection refused" if kind == "tcp" else "no such file or directory"
    assert told.out == ""
    assert f"nobody answers on admin.listen ({listen}): {why}; is the gate running" in told.err


def listed(body: bytes) -> bytes:
    """An answer of 200."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "is no gate: status 200"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "is no gate: status 200"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", "is no gate: status 302"),
        (listed(b'{"sessions": [{}]}'), "is no gate: status 200"),
        (listed(b'{"sessions": 1}'), "is no gate: status 200"),
        (listed(b"[" * 100_000), "is no gate: status 200"),
        (listed(b" " * (MOST_ANSWER + 1)), "is no gate: status 200"),
        (b"SSH-2.0-none\r\n", "no answer from admin.listen"),
        (b"", "no answer from admin.listen"),
    ],
    ids=["text", "other-json", "redirect", "other-rows", "no-rows", "deep", "endless", "no-http", "nothing"],
)
async def test_no_gate(reply: bytes, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What answers there may be another program; the token is not carried on to a third."""
    private(tmp_path / "admin-token", TOKEN)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()
        with contextlib.suppress(ConnectionError):  # it need not read to the end
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        path = gate_config(tmp_path, f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        code = await asyncio.to_thread(main, ["sessions", "list", "--config", str(path)])
    assert code == 1
    errors = capsys.readouterr().err
    assert told in errors
    assert TOKEN not in errors


async def test_every_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A gate that listens on every address is asked on this machine's own."""
    token = private(tmp_path / "admin-token", TOKEN)
    async with quick_stack(config={"admin": {"listen": "0.0.0.0:0", "token_file": str(token)}}) as stack:
        operator = Operator(stack, gate_config(tmp_path, str(gate_of(stack).admin_address)), capsys)
        assert (await operator.run("list"))[0] == 0


@pytest.mark.parametrize(
    ("listen", "token_file", "arguments", "problem"),
    [
        ("127.0.0.1:1", None, ["list"], "admin.token_file: is needed: put a token of your own into a file"),
        ("127.0.0.1:1", "none", ["list"], "admin.token_file: {folder}/none cannot be read"),
        ("127.0.0.1:0", "admin-token", ["list"], "admin.listen: needs a port of its own"),
        ("127.0.0.1:1", "admin-token", ["end"], "NAME: is needed: which session to end"),
        ("127.0.0.1:1", "admin-token", ["end", "../livez"], "NAME: '../livez' is no session's name"),
        ("127.0.0.1:1", "admin-token", ["list", "abc"], "NAME: is for `sessions end`"),
    ],
)
def test_refused(
    listen: str,
    token_file: str | None,
    arguments: list[str],
    problem: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What the configuration or the arguments do not allow: 2, with the key and what to do."""
    private(tmp_path / "admin-token", TOKEN)
    path = gate_config(tmp_path, listen, token_file)
    assert main(["sessions", *arguments, "--config", str(path)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"  {problem.format(folder=tmp_path)}" in told.err


def test_no_admin_listener(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an admin listener there is nobody to ask."""
    assert main(["sessions", "list", "--config", str(config(tmp_path))]) == 2
    assert "  admin: is null; sessions are listed and ended by the admin listener" in capsys.readouterr().err


def test_table() -> None:
    """Columns as wide as what stands in them; somebody without an address by the subject; what is open is counted."""
    row = {
        "session": "a" * 16,
        "email": "",
        "subject": "CiQ",
        "site": "https://dashboard.example.com#cluster",
        "address": "::1",
        "started": 1000,
        "seen": 8000,
        "open": [{"kind": kind} for kind in ("stream", "terminal", "stream")],
    }
    assert table([row], now=8200.0).splitlines() == [
        "SESSION           WHO  SITE                   ADDRESS  SIGNED IN    LAST SEEN      OPEN",
        f"{'a' * 16}  CiQ  dashboard.example.com  ::1      2 hours ago  3 minutes ago  2 stream, 1 terminal",
    ]


def test_printable() -> None:
    """A name or an address moves no cursor and hides nothing."""
    assert printable("jane\x1b[2J\r\n\u202eadmin é") == "jane\ufffd[2J\ufffd\ufffd\ufffdadmin é"
