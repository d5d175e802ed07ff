"""Actions in the cluster from the request to its end: names, sizes, and who ended it; ids of shells nowhere."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from oidcgate.web.followed import MOST_NAMES, MOST_TALKS, NAMES_KEPT, QUIET, Followed
from tests.net.test_tunnel import echo, frame, handshake, opened
from tests.support.audit import AUDIT, events, facts, heard
from tests.support.raw import Reply
from tests.support.stack import Clock
from tests.support.upstream import SLOW, Arrived, Gated, Link, Pairs, Script, answer, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ID = "0123456789abcdef" * 2
EXEC = "/api/v1/namespaces/shop/pods/cart-1/exec?container=cart&command=geheim"
SHELL = "/api/v1/pod/shop/cart-1/shell/cart"
TALK = "/api/sockjs/012/abcdefgh"
CART = ("shop", "cart-1", "cart")
NAMES = ("namespace", "pod", "container")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_gate() -> AsyncIterator[Gated]:
    """A gate with an audit file."""
    async with Gated(config=AUDIT) as gated:
        yield gated


@pytest_asyncio.fixture(loop_scope="module")
async def gated(shared_gate: Gated) -> AsyncIterator[Gated]:
    """That gate as new, with an empty audit."""
    await shared_gate.reset()
    shared_gate.running.audit.flush()
    followed = followed_of(shared_gate)
    followed._names.clear()
    followed._talks.clear()
    (shared_gate.folder / "audit.log").write_text("")
    yield shared_gate
    shared_gate.upstream.raise_failures()


def followed_of(gated: Gated) -> Followed:
    """What follows requests."""
    followed: Followed = gated.running.followed
    return followed


async def ask(gated: Gated, target: str, **options: Any) -> Reply:
    """A request that must not take the quick way, after one that could."""
    return await gated.ask("quick", target, lands=SLOW, **options)


# Websockets.


async def test_exec(gated: Gated) -> None:
    """Beginning and end, with names, time and bytes each way; the command is nowhere."""
    hello = frame(b"hello", mask=b"abcd")
    async with opened(gated, echo, target=EXEC) as wire:
        begun = await heard(gated, "exec_opened")
        assert events(gated, "exec") == []
        await wire.send(hello)
        await wire.exactly(len(hello))
    event = await heard(gated, "exec")
    assert facts(event, "user", "site", "address", *NAMES) == (
        "alice@example.com",
        f"localhost:{gated.port}",
        "127.0.0.1",
        *CART,
    )
    assert facts(event, "status", "bytes_up", "ended", "start") == (101, len(hello), "browser", begun["start"])
    assert event["bytes_down"] > len(hello)
    assert 0 <= event["seconds"] < 60
    assert "geheim" not in (gated.folder / "audit.log").read_text()


async def test_the_ui_ends_it(gated: Gated) -> None:
    """Without a close frame, as the Dashboard does."""

    async def end(link: Link) -> None:
        await link.read(1)

    async with opened(gated, end, target=EXEC) as wire:
        await wire.send(frame(b"x", mask=b"abcd"))
        await wire.rest()
    assert (await heard(gated, "exec"))["ended"] == "ui"


@pytest.mark.parametrize(("first", "ended"), [("browser", "browser"), ("ui", "ui")])
async def test_who_closes_first(gated: Gated, first: str, ended: str) -> None:
    """A closing handshake is told by who began it, whoever hangs up in the end."""
    closing, masked = frame(b"\x03\xe8", 8), frame(b"\x03\xe8", 8, mask=b"abcd")

    async def polite(link: Link) -> None:
        if first == "ui":
            await link.send(closing)
        await link.read(len(masked))
        if first == "browser":
            await link.send(closing)

    async with opened(gated, polite, target=EXEC) as wire:
        if first == "browser":
            await wire.send(masked)
        await wire.exactly(len(closing))
        if first == "ui":
            await wire.send(masked)
        await wire.rest()
    assert (await heard(gated, "exec"))["ended"] == ended


async def test_sign_out_ends_it(gated: Gated) -> None:
    """The reason is the session's."""
    async with opened(gated, echo, target=EXEC) as wire:
        live = gated.running.sessions.find(gated.handles["alice"].encode())
        await gated.running.sessions.end(live, "the person signed out")
        await wire.rest()
    event = await heard(gated, "exec")
    assert facts(event, "ended", "reason") == ("session_end", "the person signed out")


async def test_refused_by_the_cluster(gated: Gated) -> None:
    """Its status says that nothing was opened."""
    gated.upstream.script = answer(b"{}", status="403 Forbidden")
    async with gated.wire() as wire:
        await wire.send(handshake(gated, target=EXEC))
        assert (await wire.head()).status == 403
    event = await heard(gated, "exec")
    assert facts(event, "ended", "status", *NAMES) == ("refused", 403, *CART)


async def test_no_answer(gated: Gated) -> None:
    """The UI hangs up instead: an error, with what the person was told."""

    async def hang_up(link: Link, _arrived: Arrived) -> None:
        link.abort()

    gated.upstream.script = hang_up
    assert (await ask(gated, EXEC)).status == 502
    assert facts(await heard(gated, "exec"), "ended", "status") == ("error", 502)


async def test_a_malformed_handshake(gated: Gated) -> None:
    """What fails before it goes out is an error as well."""
    async with gated.wire() as wire:
        await wire.send(handshake(gated, target=EXEC, headers=[("Sec-WebSocket-Key", "short")]))
        assert (await wire.head()).status == 400
    assert (await heard(gated, "exec"))["ended"] == "error"


# Secrets.


@pytest.mark.parametrize(
    ("target", "secret"),
    [
        ("/api/v1/namespaces/shop/secrets/key?geheim", "key"),
        ("/api/v1/namespaces/shop/secrets", None),
        ("/api/v1/secret/shop/key", "key"),
        ("/api/v1/namespaces/shop/%73ecrets/key", "key"),
    ],
)
async def test_secret(gated: Gated, target: str, secret: str | None) -> None:
    """Read by name or as a list; the reply is the UI's, byte for byte."""
    gated.upstream.script = answer(b"x" * 5000)
    reply = await ask(gated, target)
    assert reply.body == b"x" * 5000
    (event,) = events(gated)
    assert facts(event, "event", "user", "namespace", "secret", "method", "status", "ended") == (
        "secret",
        "alice@example.com",
        "shop",
        secret,
        "GET",
        200,
        "complete",
    )
    assert event["bytes_down"] > 5000
    assert "geheim" not in json.dumps(event)


async def test_usual_requests_are_not_followed(gated: Gated) -> None:
    """They take the quick way and leave no event."""
    assert (await gated.ask("quick", "/api/v1/namespaces/shop/pods")).status == 200
    assert events(gated) == []


# The Dashboard's shells.

JSON = [("Content-Type", "application/json")]


def shell_reply(body: bytes = f'{{"id":"{ID}"}}'.encode(), headers: Pairs = JSON) -> bytes:
    """What the Dashboard answers."""
    return answer(body, headers=headers)


async def test_shell_over_a_websocket(gated: Gated) -> None:
    """The websocket is told with the pod of the shell that was asked for before; the reply is not changed."""
    gated.upstream.script = shell_reply()
    reply = await ask(gated, SHELL)
    assert reply.body == f'{{"id":"{ID}"}}'.encode()
    assert facts(await heard(gated, "shell"), *NAMES, "status", "ended") == (*CART, 200, "complete")
    async with opened(gated, echo, target=f"{TALK}/websocket?{ID}"):
        assert facts(await heard(gated, "exec_opened"), *NAMES) == CART
    assert facts(await heard(gated, "exec"), *NAMES, "ended") == (*CART, "browser")
    assert ID not in (gated.folder / "audit.log").read_text()
    assert "abcdefgh" not in (gated.folder / "audit.log").read_text()
    assert ID not in repr(followed_of(gated)._names)


@pytest.mark.parametrize("how", ["gzip", "chunked", "in-pieces"])
async def test_shell_replies(gated: Gated, how: str) -> None:
    """The id is found however the reply comes, which the browser gets as it came."""
    body = f'{{"id":"{ID}"}}'.encode()
    packed = gzip.compress(body, mtime=0)

    async def pieces(link: Link, _arrived: Arrived) -> None:
        await link.send(shell_reply()[:-10])
        await link.send(shell_reply()[-10:])

    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    scripts: dict[str, Script] = {
        "gzip": shell_reply(packed, headers=[*JSON, ("Content-Encoding", "gzip")]),
        "chunked": chunked,
        "in-pieces": pieces,
    }
    gated.upstream.script = scripts[how]
    reply = await ask(gated, SHELL)
    assert reply.body == (packed if how == "gzip" else body)
    async with opened(gated, echo, target=f"{TALK}/websocket?{ID}"):
        assert facts(await heard(gated, "exec_opened"), *NAMES) == CART


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"forbidden", status="403 Forbidden"),
        answer(f'{{"id":"{ID}"}}'.encode(), status="403 Forbidden"),
        answer(b'{"id":"' + b"a" * 5000 + b'"}'),
        answer(b"<html>"),
        answer(b""),
    ],
)
async def test_no_shell(gated: Gated, reply: bytes) -> None:
    """Any other reply names none, and arrives as it is."""
    gated.upstream.script = reply
    got = await ask(gated, SHELL)
    assert got.body == reply.partition(b"\r\n\r\n")[2]
    assert followed_of(gated)._names == {}
    assert (await heard(gated, "shell"))["status"] == got.status


async def test_somebody_elses_shell(gated: Gated) -> None:
    """An id is known only beside the session that got it; else there are no names."""
    gated.upstream.script = shell_reply()
    await ask(gated, SHELL)
    async with opened(gated, echo, target=f"{TALK}/websocket?{ID}", who="bob"):
        event = await heard(gated, "exec_opened")
        assert facts(event, "user", *NAMES) == ("bob@example.com", None, None, None)


async def test_names_are_bounded(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept for minutes, and so many."""
    clock = Clock()
    followed = followed_of(gated)
    monkeypatch.setattr(followed, "_clock", clock)
    gated.upstream.script = shell_reply()
    await ask(gated, SHELL)
    clock.ahead += NAMES_KEPT
    async with opened(gated, echo, target=f"{TALK}/websocket?{ID}"):
        assert facts(await heard(gated, "exec_opened"), *NAMES) == (None, None, None)
    (known,) = followed._names.values()
    followed._names.update({("x", b"%d" % number): (known[0] + 9999, known[1]) for number in range(MOST_NAMES)})
    gated.upstream.script = shell_reply()
    await ask(gated, SHELL)
    assert len(followed._names) == MOST_NAMES


async def test_shell_over_many_requests(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are one event with all their bytes, when they have stopped for a while."""
    clock = Clock()
    followed = followed_of(gated)
    monkeypatch.setattr(followed, "_clock", clock)
    gated.upstream.script = shell_reply()
    await ask(gated, SHELL)
    gated.upstream.script = answer(b"h" * 100)
    for leg, body in (("xhr_streaming", b""), ("xhr_send", b"typed"), ("xhr_send", b"more"), ("xhr", b"")):
        origin = [("Origin", gated.url)]
        await gated.ask(SLOW, f"{TALK}/{leg}?{ID}", method="POST", headers=origin, body=body)
    followed.sweep()
    assert facts(await heard(gated, "exec_opened"), *NAMES) == CART
    assert events(gated, "exec") == []
    clock.ahead += QUIET + 1
    followed.sweep()
    followed.sweep()
    (event,) = events(gated, "exec")
    assert facts(event, *NAMES, "bytes_up", "ended") == (*CART, 9, "complete")
    assert event["bytes_down"] > 400
    assert ID not in (gated.folder / "audit.log").read_text()


async def test_an_open_stream_is_no_silence(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a reply goes on the shell does; its end is the browser's."""
    clock = Clock()
    followed = followed_of(gated)
    monkeypatch.setattr(followed, "_clock", clock)

    async def stream(link: Link, _arrived: Arrived) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n")
        await link.rest()

    gated.upstream.script = stream
    async with gated.wire() as wire:
        await wire.send(gated.request(f"{TALK}/eventsource?{ID}"))
        assert (await wire.head()).status == 200
        clock.ahead += 100
        followed.sweep()
        assert events(gated, "exec") == []
    (talk,) = followed._talks.values()
    await until(lambda: not talk.under_way)
    clock.ahead += QUIET + 1
    followed.sweep()
    assert (await heard(gated, "exec"))["ended"] == "browser"


async def test_talks_are_bounded(gated: Gated) -> None:
    """Of too many the oldest is told early; at the gate's end all are."""
    followed = followed_of(gated)
    gated.upstream.script = answer(b"")
    for session in ("a", "b"):
        await gated.ask(SLOW, f"/api/sockjs/012/{session}/eventsource?{ID}")
    first = next(iter(followed._talks.values()))
    followed._talks.update({("x", b"%d" % number): first for number in range(MOST_TALKS - 2)})
    await gated.ask(SLOW, f"/api/sockjs/012/c/eventsource?{ID}")
    assert len(followed._talks) == MOST_TALKS
    assert len(events(gated, "exec")) == 1
    followed.close()
    assert len(events(gated, "exec")) == 1 + MOST_TALKS
