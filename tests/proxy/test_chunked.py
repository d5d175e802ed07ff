"""Chunked bodies: the same data however they arrive, and nothing ambiguous (RFC 9112 §7.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oidcgate.proxy.chunked import LAST_CHUNK, ChunkedDecoder, ChunkError, encode_chunk


def decode(*parts: bytes) -> tuple[bytes, bytes, bool]:
    """Data, surplus, and whether the body was complete."""
    decoder = ChunkedDecoder()
    data, surplus = b"", b""
    for part in parts:
        pieces, rest = decoder.feed(part)
        data += b"".join(pieces)
        surplus += rest
    return data, surplus, decoder.is_done


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"0\r\n\r\n", b"", id="empty"),
        pytest.param(b"5\r\nhello\r\n0\r\n\r\n", b"hello", id="one"),
        pytest.param(b"3\r\nfoo\r\n3\r\nbar\r\n0\r\n\r\n", b"foobar", id="two"),
        pytest.param(b"0A\r\n0123456789\r\n000\r\n\r\n", b"0123456789", id="hex-and-leading-zeros"),
        pytest.param(b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", id="data-that-looks-like-framing"),
        pytest.param(b'3;a=b;c="d e"\r\nfoo\r\n0;x\r\n\r\n', b"foo", id="extensions-are-dropped"),
        pytest.param(b"3 ;a\r\nfoo\r\n0\r\n\r\n", b"foo", id="space-before-an-extension"),
        pytest.param(b"0\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\n\r\n", b"", id="trailers-are-dropped"),
    ],
)
def test_body(body: bytes, expected: bytes) -> None:
    """The data, whole; what follows the body is handed back."""
    assert decode(body + b"HTTP/1.1") == (expected, b"HTTP/1.1", True)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\r\n", id="empty-size"),
        pytest.param(b" 5\r\nhello\r\n", id="leading-space"),
        pytest.param(b"+5\r\nhello\r\n", id="plus"),
        pytest.param(b"-1\r\n", id="minus"),
        pytest.param(b"0x5\r\nhello\r\n", id="prefix"),
        pytest.param(b"5_0\r\n", id="underscore"),
        pytest.param(b"g\r\n", id="no-digit"),
        pytest.param("\u0665\r\n".encode(), id="unicode-digit"),
        pytest.param(b"1000000000000000\r\n", id="sixteen-digits"),
        pytest.param(b"5 5\r\nhello\r\n", id="two-sizes"),
        pytest.param(b"5\nhello\n0\n\n\r\n", id="bare-lf"),
        pytest.param(b"5\rhello\r\n", id="bare-cr"),
        pytest.param(b"5;a\nb\r\nhello\r\n", id="lf-in-an-extension"),
        pytest.param(b"5;a\x00\r\nhello\r\n", id="nul-in-an-extension"),
        pytest.param(b"5;" + b"a" * 4096 + b"\r\n", id="long-extension"),
        pytest.param(b"5;" + b"a" * 5000, id="long-extension-without-an-end"),
        pytest.param(b"3\r\nfooX", id="data-too-long"),
        pytest.param(b"3\r\nfoobar\r\n", id="data-too-long-with-crlf"),
        pytest.param(b"3\r\nfoo\n0\r\n\r\n", id="lf-behind-data"),
        pytest.param(b"3\r\nfoo\r0\r\n\r\n", id="cr-behind-data"),
        pytest.param(b"0\r\na: b\nc: d\r\n\r\n", id="lf-in-a-trailer"),
        pytest.param(b"0\r\na: b\rc: d\r\n\r\n", id="cr-in-a-trailer"),
        pytest.param(b"0\r\n" + (b"a: " + b"b" * 4000 + b"\r\n") * 5, id="large-trailers"),
    ],
)
def test_broken(body: bytes) -> None:
    """What two parsers could read differently breaks off, in one piece or byte by byte."""
    with pytest.raises(ChunkError):
        decode(body)
    with pytest.raises(ChunkError):
        decode(*(body[i : i + 1] for i in range(len(body))))


@pytest.mark.parametrize(
    "body", [b"", b"5", b"5\r", b"5\r\n", b"5\r\nhel", b"5\r\nhello", b"5\r\nhello\r\n", b"0\r\n", b"0\r\n\r"]
)
def test_cut(body: bytes) -> None:
    """A body that ends early is not done."""
    assert not decode(body)[2]


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


@given(CHUNKS, st.data())
def test_any_split(chunks: list[bytes], data: st.DataObject) -> None:
    """Wherever the network cuts the bytes, the data and what follows it are the same."""
    body = b"".join(b"%X;x=y\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nT: 1\r\n\r\n"
    stream = body + b"next"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert decode(*parts) == (b"".join(chunks), b"next", True)


def test_every_split() -> None:
    """Two parts, cut at each position in turn."""
    stream = b'3;a="b"\r\nfoo\r\n2\r\n\r\n\r\n0\r\nT: 1\r\n\r\nnext'
    for at in range(len(stream) + 1):
        assert decode(stream[:at], stream[at:]) == (b"foo\r\n", b"next", True)


@given(CHUNKS)
def test_round_trip(chunks: list[bytes]) -> None:
    """What we encode decodes to the same data."""
    assert decode(encode_chunk(chunks) + LAST_CHUNK) == (b"".join(chunks), b"", True)


def test_no_data_is_no_chunk() -> None:
    """An empty chunk would end the body."""
    assert encode_chunk([]) == b""
    assert encode_chunk([b"", b""]) == b""
    assert encode_chunk([b"foo", b"bar"]) == b"6\r\nfoobar\r\n"
