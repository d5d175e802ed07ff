"""The copy of a small reply: what the browser got, and nothing that is large or broken."""

from typing import Any

import pytest

from oidcgate.errors import UpstreamError
from oidcgate.net.copied import MOST_KEPT, CopiedExchange

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Nowhere:
    """A browser that has gone."""

    transport = None


def copied(*pieces: bytes) -> CopiedExchange:
    """An exchange that has written these pieces."""
    nowhere: Any = Nowhere()
    exchange = CopiedExchange(
        nowhere, nowhere, "GET", http11=True, keep_alive=True, limits=nowhere, on_done=lambda _exchange: None
    )
    for piece in pieces:
        exchange._write(piece)
    return exchange


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        pytest.param((HEAD + b"Content-Length: 2\r\n\r\n{}",), b"{}", id="at-once"),
        pytest.param((HEAD + b"Content-Length: 2\r\n\r\n", b"{", b"}"), b"{}", id="in-pieces"),
        pytest.param((CHUNKED, b"1\r\n{\r\n", b"1\r\n}\r\n0\r\n\r\n"), b"{}", id="chunked"),
        pytest.param((CHUNKED, b"nonsense\r\n"), b"", id="broken-chunks"),
        pytest.param((HEAD + b"\r\n", b"x" * MOST_KEPT), b"", id="too-large"),
        pytest.param((HEAD + b"\r\n", *[b"x" * 1000] * 100), b"", id="too-large-in-pieces"),
        pytest.param((), b"", id="nothing"),
    ],
)
def test_body(pieces: tuple[bytes, ...], body: bytes) -> None:
    """It is there when it is small, however it came."""
    exchange = copied(*pieces)
    assert exchange.body == body
    assert len(exchange._kept) <= MOST_KEPT + 1


def test_a_reply_that_broke_off() -> None:
    """Half a reply says nothing."""
    exchange = copied(HEAD + b"Content-Length: 4\r\n\r\n{}")
    exchange.failure = UpstreamError("cut")
    assert exchange.body == b""
