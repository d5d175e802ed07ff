"""The handshake, what an upstream may agree to, and where frames end (RFC 6455)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oidcgate.errors import RequestError
from oidcgate.inbound import RawHeaders, read_head
from oidcgate.proxy.websocket import FrameTracker, Handshake, check_accepted, close_frame, read_handshake

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 §1.3
TOKEN = b"base64url.bearer.authorization.k8s.io.aHVzaA"
GOOD: dict[bytes, list[bytes]] = {
    b"Connection": [b"keep-alive, Upgrade"],
    b"Upgrade": [b"WebSocket"],
    b"Sec-WebSocket-Version": [b"13"],
    b"Sec-WebSocket-Key": [KEY],
}


def raw(changes: dict[bytes, list[bytes]]) -> RawHeaders:
    """A good handshake's header block with some headers replaced."""
    lines = ((name, value) for name, values in (GOOD | changes).items() for value in values)
    return ((b"Host", b"dash.example.com"), *lines)


def shake(
    changes: dict[bytes, list[bytes]] | None = None, *, method: str = "GET", version: tuple[int, int] = (1, 1)
) -> Handshake:
    """The handshake of a request."""
    block = raw(changes or {})
    return read_handshake(block, read_head(block, version), method=method, version=version)


# The browser's side (§4.2.1).


def test_handshake() -> None:
    """What goes to the upstream is written anew."""
    handshake = shake(
        {
            b"Sec-WebSocket-Protocol": [b"chat , v4.channel.k8s.io", b"x"],
            b"Sec-WebSocket-Extensions": [b"permessage-deflate; client_max_window_bits", b"x-other"],
        }
    )
    assert handshake.lines() == (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Protocol: chat, v4.channel.k8s.io, x\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-other\r\n"
    )


def test_bare_handshake() -> None:
    """Without protocols and extensions, as the Dashboard's shell does."""
    assert shake().lines() == (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    assert shake().accept == ACCEPT


@pytest.mark.parametrize(
    ("changes", "method", "version"),
    [
        pytest.param({}, "POST", (1, 1), id="post"),
        pytest.param({}, "HEAD", (1, 1), id="head"),
        pytest.param({}, "GET", (1, 0), id="http-1.0"),
        pytest.param({b"Content-Length": [b"5"]}, "GET", (1, 1), id="body"),
        pytest.param({b"Transfer-Encoding": [b"chunked"]}, "GET", (1, 1), id="chunked-body"),
        pytest.param({b"Upgrade": [b"h2c"]}, "GET", (1, 1), id="h2c"),
        pytest.param({b"Upgrade": [b"websocket, h2c"]}, "GET", (1, 1), id="list"),
        pytest.param({b"Upgrade": [b"websocket/13"]}, "GET", (1, 1), id="versioned"),
        pytest.param({b"Upgrade": []}, "GET", (1, 1), id="no-upgrade"),
        pytest.param({b"Connection": [b"keep-alive"]}, "GET", (1, 1), id="not-nominated"),
        pytest.param({b"Sec-WebSocket-Key": []}, "GET", (1, 1), id="no-key"),
        pytest.param({b"Sec-WebSocket-Key": [KEY, KEY]}, "GET", (1, 1), id="two-keys"),
        pytest.param({b"Sec-WebSocket-Key": [b""]}, "GET", (1, 1), id="empty-key"),
        pytest.param({b"Sec-WebSocket-Key": [b"c2hvcnQ="]}, "GET", (1, 1), id="short-key"),
        pytest.param({b"Sec-WebSocket-Key": [b"A" * 24]}, "GET", (1, 1), id="eighteen-bytes"),
        pytest.param({b"Sec-WebSocket-Key": [KEY[:-2]]}, "GET", (1, 1), id="no-padding"),
        pytest.param({b"Sec-WebSocket-Key": [KEY[:10] + b" " + KEY[10:]]}, "GET", (1, 1), id="space-in-the-key"),
        pytest.param({b"Sec-WebSocket-Key": [KEY.replace(b"G", b"_")]}, "GET", (1, 1), id="url-alphabet"),
        pytest.param({b"Sec-WebSocket-Key": [KEY + b", " + KEY]}, "GET", (1, 1), id="list-of-keys"),
        pytest.param({b"Sec-WebSocket-Protocol": [b"a b"]}, "GET", (1, 1), id="protocol-with-a-space"),
        pytest.param({b"Sec-WebSocket-Protocol": [b"a,,b"]}, "GET", (1, 1), id="empty-protocol"),
        pytest.param({b"Sec-WebSocket-Protocol": [b""]}, "GET", (1, 1), id="empty-list"),
        pytest.param({b"Sec-WebSocket-Protocol": [b'"a"']}, "GET", (1, 1), id="quoted-protocol"),
        pytest.param({b"Sec-WebSocket-Protocol": [TOKEN]}, "GET", (1, 1), id="bearer-alone"),
        pytest.param({b"Sec-WebSocket-Protocol": [TOKEN, TOKEN.upper()]}, "GET", (1, 1), id="bearers-alone"),
    ],
)
def test_refused_handshakes(changes: dict[bytes, list[bytes]], method: str, version: tuple[int, int]) -> None:
    """Only a plain GET on HTTP/1.1 with one good key; else 400, and the upstream is never asked."""
    with pytest.raises(RequestError) as caught:
        shake(changes, method=method, version=version)
    assert caught.value.status == 400


@pytest.mark.parametrize("versions", [[], [b"8"], [b"0"], [b"013"], [b"13, 8"], [b"13", b"13"], [b""]])
def test_other_versions(versions: list[bytes]) -> None:
    """Another version is answered 426 here (§4.4)."""
    with pytest.raises(RequestError) as caught:
        shake({b"Sec-WebSocket-Version": versions})
    assert caught.value.status == 426


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        pytest.param([b"v4.channel.k8s.io", TOKEN], (b"v4.channel.k8s.io",), id="two-lines"),
        pytest.param([TOKEN + b", v4.channel.k8s.io"], (b"v4.channel.k8s.io",), id="one-line"),
        pytest.param([b"a," + TOKEN.upper() + b",b"], (b"a", b"b"), id="another-case"),
        pytest.param([b"a, base64url.bearer.authorization.k8s.io."], (b"a",), id="empty-token"),
        pytest.param([b"a, " + TOKEN + b"/="], (b"a",), id="token-that-is-no-protocol-name"),
        pytest.param(
            [b"base64url.bearer.authorization.k8s.iox"], (b"base64url.bearer.authorization.k8s.iox",), id="other"
        ),
    ],
)
def test_bearer_protocols(offered: list[bytes], kept: tuple[bytes, ...]) -> None:
    """A token among the protocols is a second way to be somebody: it stays here."""
    handshake = shake({b"Sec-WebSocket-Protocol": offered})
    assert handshake.protocols == kept
    assert b"k8s.io.a" not in handshake.lines()


# The upstream's side (§4.1).


def accepted(changes: dict[bytes, list[bytes]], *, protocols: bytes = b"", extensions: bytes = b"") -> str | None:
    """What is wrong with a 101 that differs from a good one by these headers."""
    offer = {b"Sec-WebSocket-Protocol": [protocols]} if protocols else {}
    offer |= {b"Sec-WebSocket-Extensions": [extensions]} if extensions else {}
    fields = {b"upgrade": [b"websocket"], b"connection": [b"Upgrade"], b"sec-websocket-accept": [ACCEPT]}
    return check_accepted(shake(offer), fields | changes)


@pytest.mark.parametrize(
    ("changes", "protocols", "extensions"),
    [
        pytest.param({}, b"", b"", id="bare"),
        pytest.param(
            {b"upgrade": [b"WebSocket"], b"connection": [b"keep-alive, UPGRADE"]}, b"", b"", id="case-and-list"
        ),
        pytest.param({b"connection": [b"x", b"upgrade"]}, b"", b"", id="two-lines"),
        pytest.param({}, b"a, b", b"permessage-deflate", id="nothing-chosen"),
        pytest.param({b"sec-websocket-protocol": [b"b"]}, b"a, b", b"", id="protocol"),
        pytest.param(
            {b"sec-websocket-extensions": [b"Permessage-Deflate; server_no_context_takeover"]},
            b"",
            b"permessage-deflate; client_max_window_bits, x",
            id="extension",
        ),
        pytest.param(
            {b"sec-websocket-extensions": [b"x", b"permessage-deflate"]}, b"", b"permessage-deflate, x", id="extensions"
        ),
    ],
)
def test_accepted(changes: dict[bytes, list[bytes]], protocols: bytes, extensions: bytes) -> None:
    """An upstream that agrees to what was offered, or to less."""
    assert accepted(changes, protocols=protocols, extensions=extensions) is None


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({b"upgrade": []}, id="no-upgrade"),
        pytest.param({b"upgrade": [b"h2c"]}, id="another-protocol"),
        pytest.param({b"upgrade": [b"websocket", b"websocket"]}, id="upgrade-twice"),
        pytest.param({b"connection": []}, id="no-connection"),
        pytest.param({b"connection": [b"close"]}, id="connection-without-upgrade"),
        pytest.param({b"connection": [b"x-upgrade"]}, id="connection-with-a-longer-word"),
        pytest.param({b"sec-websocket-accept": []}, id="no-accept"),
        pytest.param({b"sec-websocket-accept": [ACCEPT.lower()]}, id="accept-in-another-case"),
        pytest.param({b"sec-websocket-accept": [KEY]}, id="accept-is-the-key"),
        pytest.param({b"sec-websocket-accept": [ACCEPT, ACCEPT]}, id="accept-twice"),
        pytest.param({b"sec-websocket-protocol": [b"c"]}, id="unasked-protocol"),
        pytest.param({b"sec-websocket-protocol": [b"A"]}, id="protocol-in-another-case"),
        pytest.param({b"sec-websocket-protocol": [b"a, b"]}, id="list-of-protocols"),
        pytest.param({b"sec-websocket-protocol": [b"a", b"b"]}, id="two-protocols"),
        pytest.param({b"sec-websocket-protocol": [b""]}, id="empty-protocol"),
        pytest.param({b"sec-websocket-protocol": [TOKEN]}, id="bearer"),
        pytest.param({b"sec-websocket-extensions": [b"x-unasked"]}, id="unasked-extension"),
        pytest.param({b"sec-websocket-extensions": [b"permessage-deflate, x-unasked"]}, id="one-of-two-unasked"),
        pytest.param(
            {b"sec-websocket-extensions": [b"permessage-deflate", b"x-unasked"]}, id="unasked-in-a-second-line"
        ),
        pytest.param({b"sec-websocket-extensions": [b"permessage-deflatex"]}, id="longer-name"),
    ],
)
def test_not_accepted(changes: dict[bytes, list[bytes]]) -> None:
    """A 101 that agrees to anything else opens nothing."""
    assert accepted(changes, protocols=b"a, b, " + TOKEN, extensions=b"permessage-deflate") is not None


def test_extension_without_an_offer() -> None:
    """Where nothing was offered no extension may be agreed."""
    assert accepted({b"sec-websocket-extensions": [b"permessage-deflate"]}) is not None


# Frames (§5).


def frame(opcode: int, payload: bytes, *, mask: bool, final: bool = True) -> bytes:
    """A frame as an endpoint sends it."""
    size = len(payload)
    head = bytes([(0x80 if final else 0) | opcode])
    bit = 0x80 if mask else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    return head + (b"\x00" * 4 if mask else b"") + payload


FRAMES = st.lists(
    st.builds(
        frame,
        st.sampled_from([0x0, 0x1, 0x2, 0x9, 0xA]),
        st.sampled_from([0, 1, 125, 126, 127, 300, 65535, 65536]).map(bytes),
        mask=st.booleans(),
        final=st.booleans(),
    ),
    max_size=4,
)


@given(FRAMES, st.data())
def test_frames_in_any_split(frames: list[bytes], data: st.DataObject) -> None:
    """Wherever the bytes are cut, the tracker knows whether a frame is under way."""
    stream = b"".join(frames)
    ends = {0}
    for piece in frames:
        ends.add(max(ends) + len(piece))
    near = sorted({end + step for end in ends for step in range(-3, 15) if 0 <= end + step <= len(stream)})
    cuts = sorted(data.draw(st.lists(st.sampled_from(near), max_size=10)))
    tracker = FrameTracker()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        assert tracker.feed(stream[start:end]) == end - start
        assert tracker.at_boundary is (end in ends)
    assert not tracker.closing


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 400])
def test_every_split(mask: bool, size: int) -> None:
    """Two frames cut at each position in turn, byte by byte too."""
    first = frame(0x2, b"x" * size, mask=mask)
    stream = first + frame(0x1, b"", mask=mask)
    single = FrameTracker()
    for at in range(len(stream) + 1):
        tracker = FrameTracker()
        tracker.feed(stream[:at])
        assert tracker.at_boundary is (at in (0, len(first), len(stream)))
        tracker.feed(stream[at:])
        assert tracker.at_boundary
        single.feed(stream[at : at + 1])
    assert single.at_boundary


def test_stopping_at_a_boundary() -> None:
    """With ``stop`` the bytes of the next frame are left alone."""
    first, second = frame(0x1, b"hello", mask=True), frame(0x1, b"bye", mask=True)
    tracker = FrameTracker()
    tracker.feed(first[:4])
    assert tracker.feed(first[4:] + second, stop=True) == len(first) - 4
    assert tracker.at_boundary
    assert tracker.feed(b"", stop=True) == 0


def test_stopping_before_a_boundary() -> None:
    """With ``stop`` an unfinished frame is followed as far as it goes."""
    tracker = FrameTracker()
    assert tracker.feed(frame(0x1, b"hello", mask=False)[:-1], stop=True) == 6
    assert not tracker.at_boundary


@pytest.mark.parametrize("mask", [None, b"\x01\x02\x03\x04"])
def test_a_close_frame_is_seen(mask: bytes | None) -> None:
    """A close frame counts from its head on, whole or not, and stays seen."""
    tracker = FrameTracker()
    closing = close_frame(1000, "bye", mask=mask)
    tracker.feed(closing[: 2 if mask is None else 6])
    assert tracker.closing
    tracker.feed(closing[2 if mask is None else 6 :] + frame(0x1, b"x", mask=False))
    assert tracker.closing
    assert tracker.at_boundary


def test_data_that_looks_like_a_close_frame() -> None:
    """Payload is never read."""
    tracker = FrameTracker()
    tracker.feed(frame(0x1, b"\x88\x00", mask=False))
    assert not tracker.closing


def test_a_length_without_end() -> None:
    """The largest length a frame can claim is just awaited."""
    tracker = FrameTracker()
    tracker.feed(b"\x82\x7f" + b"\xff" * 8 + b"x" * 100)
    assert not tracker.at_boundary


# Close frames (§5.5.1).


def test_close_frame_for_a_browser() -> None:
    """Unmasked: code and reason."""
    assert close_frame(1008, "over") == b"\x88\x06\x03\xf0over"


def test_close_frame_for_a_server() -> None:
    """Masked (§5.3)."""
    sent = close_frame(1008, "over", mask=b"\x01\x02\x03\x04")
    assert sent[:6] == b"\x88\x86\x01\x02\x03\x04"
    assert bytes(byte ^ (i % 4 + 1) for i, byte in enumerate(sent[6:])) == b"\x03\xf0over"


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        pytest.param("x" * 200, b"x" * 123, id="ascii"),
        pytest.param("\u00e4" * 100, "\u00e4".encode() * 61, id="half-a-letter-is-left-out"),
        pytest.param("x" * 123, b"x" * 123, id="just-fits"),
        pytest.param("", b"", id="empty"),
    ],
)
@pytest.mark.parametrize("mask", [None, b"abcd"])
def test_long_reasons(reason: str, kept: bytes, mask: bytes | None) -> None:
    """A control frame holds 125 bytes; the reason stays good UTF-8."""
    sent = close_frame(1001, reason, mask=mask)
    assert sent[1] & 0x7F == 2 + len(kept) <= 125
    tracker = FrameTracker()
    tracker.feed(sent)
    assert tracker.at_boundary
    if mask is None:
        assert sent[4:] == kept
