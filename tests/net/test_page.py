"""Pages that the badge goes into, byte for byte, and that nothing else changes."""

import asyncio
import gzip

import pytest

from tests.support.raw import Reply
from tests.support.upstream import SLOW, WAYS, Arrived, Gated, Link, Pairs, answer, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPENS: Pairs = [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
HTML = ("Content-Type", "text/html; charset=utf-8")
SCRIPT = b'<script src="/oauth2/badge.js" defer></script>'
DOCUMENT = b"<!doctype html><html><head><title>x</title></head><body>" + b"y" * 100_000
PAGE = DOCUMENT.replace(b"<head>", b"<head>" + SCRIPT)


def chunks(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Pieces as chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


def chunked(*pieces: bytes) -> bytes:
    """A chunked page."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(*pieces)


UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"


def closing(body: bytes) -> object:
    """A script whose page ends with the connection."""

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.send(UNTIL_CLOSED + body)
        link.close()

    return script


async def open_page(gated: Gated, *, headers: Pairs = (), method: str = "GET", version: str = "HTTP/1.1") -> Reply:
    """Open a page."""
    return await gated.ask(SLOW, headers=[*OPENS, *headers], method=method, version=version)


@pytest.mark.parametrize("framing", ["length", "chunked", "one byte a chunk", "closing"])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_framings(gated: Gated, framing: str, version: str) -> None:
    """However the UI tells where its page ends, the browser gets the page, the script, and an end it understands."""
    begin = [DOCUMENT[at : at + 1] for at in range(100)]
    scripts = {
        "length": answer(DOCUMENT, headers=[HTML, ("ETag", '"x"')]),
        "chunked": chunked(DOCUMENT),
        "one byte a chunk": chunked(*begin, DOCUMENT[100:]),
        "closing": closing(DOCUMENT),
    }
    gated.upstream.script = scripts[framing]  # type: ignore[assignment]
    reply = await open_page(gated, version=version)
    assert reply.complete
    assert reply.body == PAGE
    assert not reply.values("Content-Length") + reply.values("ETag")
    assert bool(reply.values("Transfer-Encoding")) == (version == "HTTP/1.1")
    assert (reply.value("Connection") == "close") == (version == "HTTP/1.0")


async def test_the_connections_stay(gated: Gated) -> None:
    """Browser and UI keep their connections from page to page, whatever comes between."""
    gated.upstream.script = answer(DOCUMENT, headers=[HTML])
    async with gated.wire() as wire:
        for headers in (OPENS, [], OPENS):
            await wire.send(gated.request(headers=headers))
            reply = await wire.reply()
            assert reply.body == (PAGE if headers else DOCUMENT)
            await until(gated.connection(wire)._is_idle)
    assert len({arrived.link.number for arrived in gated.upstream.requests}) == 1


async def test_what_the_ui_is_asked(gated: Gated) -> None:
    """A page is asked for whole and in plain text; what scripts ask for goes on as it came."""
    gated.upstream.script = answer(DOCUMENT, headers=[HTML])
    asks: Pairs = [("Accept-Encoding", "gzip"), ("If-None-Match", '"x"'), ("Range", "bytes=0-5"), ("X-A", "b")]
    await open_page(gated, headers=asks)
    await gated.ask(SLOW, headers=asks)
    page, other = gated.upstream.requests
    assert page.value("Accept-Encoding") == "identity"
    assert not page.values("If-None-Match") + page.values("Range")
    assert page.value("X-A") == "b"
    assert page.value("Authorization") == gated.bearer()
    assert [other.value(name) for name, _ in asks] == [value for _, value in asks]


async def test_head(gated: Gated) -> None:
    """HEAD says what GET would say, and the connection goes on."""
    gated.upstream.script = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n"
    async with gated.wire() as wire:
        for _ in range(2):
            await wire.send(gated.request(method="HEAD", headers=OPENS))
            reply = await wire.reply("HEAD")
            assert reply.status == 200
            assert not reply.values("Content-Length") + reply.values("Transfer-Encoding")


@pytest.mark.parametrize(
    "reply",
    [
        answer(gzip.compress(DOCUMENT), headers=[HTML, ("Content-Encoding", "gzip"), ("ETag", '"x"')]),
        answer(b"{}", headers=[("Content-Type", "application/json"), ("ETag", '"x"')]),
        answer(DOCUMENT, headers=[HTML, ("ETag", '"x"')], status="404 Not Found"),
        answer(b"", headers=[HTML]),
        answer(DOCUMENT, headers=[HTML, ("Content-Security-Policy", "sandbox")]),
        answer(b"", headers=[("Location", "/elsewhere"), HTML], status="302 Found"),
    ],
)
async def test_other_replies_are_the_same(gated: Gated, reply: bytes) -> None:
    """What is no page, or comes compressed all the same, is what it would be for a script, byte for byte."""
    gated.upstream.script = reply
    opened, fetched = await open_page(gated), await gated.ask(SLOW)
    assert (opened.status, opened.headers, opened.body) == (fetched.status, fetched.headers, fetched.body)


@pytest.mark.parametrize("way", WAYS)
async def test_scripts_get_documents_as_they_are(gated: Gated, way: str) -> None:
    """The badge goes into what a person opens, not into HTML that a script fetches or a frame shows."""
    gated.upstream.script = answer(DOCUMENT, headers=[HTML, ("ETag", '"x"')])
    frame: Pairs = [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")]
    for headers in ((), frame):
        reply = await gated.ask(way, headers=headers)
        assert (reply.body, reply.value("ETag"), reply.value("Content-Length")) == (DOCUMENT, '"x"', str(len(DOCUMENT)))


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_page_comes_as_it_is_made(gated: Gated, framing: str) -> None:
    """What the UI has written is on the screen before it writes the rest; a place that is cut in two is found."""
    more = asyncio.Event()

    async def script(link: Link, _arrived: Arrived) -> None:
        first, second = b"<!doctype html><!-- 1 --><html><he", b"ad><body>2"
        if framing == "length":
            await link.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 44\r\n\r\n" + first)
        else:
            await link.send(chunked(first).removesuffix(b"0\r\n\r\n"))
        await more.wait()
        await link.send(second if framing == "length" else chunks(second))

    gated.upstream.script = script
    async with gated.wire() as wire:
        await wire.send(gated.request(headers=OPENS))
        assert (await wire.head()).status == 200
        assert await wire.exactly(4 + 31) == b"1f\r\n<!doctype html><!-- 1 --><html>"
        more.set()
        rest = await wire.reader.readuntil(b"0\r\n\r\n")
    assert b"<head>" + SCRIPT + b"<body>2\r\n" in rest


@pytest.mark.parametrize("tail", [b"", b"<he"])
async def test_a_document_without_a_place(gated: Gated, tail: bytes) -> None:
    """What was held back comes at the end, also where the connection's end is the document's."""
    body = b"<!doctype html>" + tail
    for reply in (answer(body, headers=[HTML]), chunked(body), closing(body)):
        gated.upstream.script = reply  # type: ignore[assignment]
        assert (await open_page(gated)).body == body


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 99\r\n\r\n<!doctype html><he",
        chunked(b"<!doctype html><head>").removesuffix(b"0\r\n\r\n"),
        chunked(b"<!doctype html><head>").removesuffix(b"0\r\n\r\n") + b"nonsense\r\n",
    ],
)
async def test_a_page_that_breaks_off_looks_broken(gated: Gated, sent: bytes) -> None:
    """No end is made up."""

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.send(sent)
        link.close()

    gated.upstream.script = script
    async with gated.wire() as wire:
        await wire.send(gated.request(headers=OPENS))
        assert (await wire.head()).status == 200
        assert not (await wire.rest()).endswith(b"0\r\n\r\n")


async def test_surplus_ends_the_uis_connection(gated: Gated) -> None:
    """Bytes after the page's end are nobody's."""
    gated.upstream.script = answer(DOCUMENT, headers=[HTML]) + b"HTTP/1.1 200 OK\r\n"
    for _ in range(2):
        assert (await open_page(gated)).body == PAGE
    assert len({arrived.link.number for arrived in gated.upstream.requests}) == 2


async def test_a_slow_browser_slows_the_ui(gated: Gated) -> None:
    """A huge page is not gathered here: the UI waits while the browser does not read."""
    piece, sent = b"z" * 262_144, 0
    most = 400

    async def script(link: Link, _arrived: Arrived) -> None:
        nonlocal sent
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(most):
            await link.send(chunks(piece, end=b""))
            sent += 1
        await link.send(b"0\r\n\r\n")

    gated.upstream.script = script
    async with gated.wire() as wire:
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await wire.send(gated.request(headers=OPENS))
        await gated.upstream.arrived()
        await until(lambda: gated.connection(wire).writing_paused)
        assert sent < most
        wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
        reply = await wire.reply()
    assert reply.complete
    assert len(reply.body) == most * len(piece) + len(SCRIPT)
