"""
The websocket handshake and, of its frames, only where they end (RFC 6455).

Pure. The gate never reads messages: it is a byte tunnel that knows frame boundaries, so that a close frame can be put
in when the session ends.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from oidcgate.errors import RequestError
from oidcgate.inbound import Head, RawHeaders

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BEARER_PROTOCOL = re.compile(rb"base64url\.bearer\.authorization\.k8s\.io\..*", re.IGNORECASE)
TOKEN_LIST = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Handshake:
    """What the browser offers; ``protocols`` holds no bearer token."""

    key: bytes
    protocols: tuple[bytes, ...]
    extensions: bytes

    def lines(self) -> bytes:
        """The handshake's headers for the upstream."""
        text = (
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n"
            % (self.key,)
        )
        if self.protocols:
            text += b"Sec-WebSocket-Protocol: %b\r\n" % b", ".join(self.protocols)
        if self.extensions:
            text += b"Sec-WebSocket-Extensions: %b\r\n" % self.extensions
        return text

    @property
    def accept(self) -> bytes:
        """What the upstream must answer (RFC 6455 §4.2.2)."""
        return base64.b64encode(hashlib.sha1(self.key + GUID, usedforsecurity=False).digest())


def read_handshake(raw: RawHeaders, head: Head, *, method: str, version: tuple[int, int]) -> Handshake:
    """
    The handshake in a request that asks for ``Upgrade: websocket``.

    Raises:
        RequestError: 400, or 426 for another websocket version.
    """
    if head.upgrade != b"websocket" or method != "GET" or version != (1, 1) or head.has_body:
        raise RequestError("Only a plain websocket handshake may upgrade a connection here.")
    values: dict[bytes, list[bytes]] = {}
    for name, value in raw:
        values.setdefault(name.lower(), []).append(value.strip())
    if values.get(b"sec-websocket-version") != [b"13"]:
        raise RequestError("Only version 13 of the websocket protocol is spoken here.", status=426)
    keys = values.get(b"sec-websocket-key", [])
    if len(keys) != 1 or not _is_key(keys[0]):
        raise RequestError("The Sec-WebSocket-Key is missing or malformed.")
    return Handshake(keys[0], _protocols(values), b", ".join(values.get(b"sec-websocket-extensions", [])))


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def _protocols(values: dict[bytes, list[bytes]]) -> tuple[bytes, ...]:
    offered = [p.strip() for value in values.get(b"sec-websocket-protocol", []) for p in value.split(b",")]
    kept = tuple(p for p in offered if not BEARER_PROTOCOL.fullmatch(p))
    if any(not TOKEN_LIST.fullmatch(p) for p in kept):
        raise RequestError("The Sec-WebSocket-Protocol is malformed.")
    if offered and not kept:
        raise RequestError("A bearer token alone is no websocket protocol; this gate brings its own.")
    return kept


def check_accepted(handshake: Handshake, fields: dict[bytes, list[bytes]]) -> str | None:
    """
    What is wrong with an upstream's 101, if anything (RFC 6455 §4.1).

    Args:
        fields: header values by lower-case name.
    """
    if [v.lower() for v in fields.get(b"upgrade", [])] != [b"websocket"]:
        return "no Upgrade: websocket"
    if b"upgrade" not in [t.strip().lower() for v in fields.get(b"connection", []) for t in v.split(b",")]:
        return "no Connection: Upgrade"
    if fields.get(b"sec-websocket-accept") != [handshake.accept]:
        return "a wrong Sec-WebSocket-Accept"
    chosen = fields.get(b"sec-websocket-protocol", [])
    if len(chosen) > 1 or any(p not in handshake.protocols for p in chosen):
        return "a protocol that was not offered"
    return _unasked_extension(handshake, fields)


def _unasked_extension(handshake: Handshake, fields: dict[bytes, list[bytes]]) -> str | None:
    offered = {part.partition(b";")[0].strip().lower() for part in handshake.extensions.split(b",")}
    for value in fields.get(b"sec-websocket-extensions", []):
        for part in value.split(b","):
            if part.partition(b";")[0].strip().lower() not in offered:
                return "an extension that was not offered"
    return None


def close_frame(code: int, reason: str, *, mask: bytes | None = None) -> bytes:
    """
    A close frame (RFC 6455 §5.5.1).

    Args:
        reason: cut to 123 bytes of UTF-8, the most a control frame holds.
        mask: four random bytes when it goes to a server (§5.3).
    """
    payload = code.to_bytes(2, "big") + reason.encode()[:123].decode("utf-8", "ignore").encode()
    if mask is None:
        return bytes((0x88, len(payload))) + payload
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes((0x88, 0x80 | len(payload))) + mask + masked


class FrameTracker:
    """Follows one direction of frames by their lengths alone; knows whether a frame is under way."""

    __slots__ = ("_head", "_left", "closing")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self.closing = False  # a close frame has begun

    @property
    def at_boundary(self) -> bool:
        """Whether the last frame is complete and none has begun."""
        return self._left == 0 and not self._head

    def feed(self, data: bytes, *, stop: bool = False) -> int:
        """
        Follow some more bytes.

        Args:
            stop: at the first boundary.

        Returns:
            How many bytes were followed.
        """
        at, size = 0, len(data)
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
            else:
                piece = data[at : at + _head_size(self._head) - len(self._head)]
                self._head += piece
                at += len(piece)
                if len(self._head) >= _head_size(self._head):
                    self._begin()
            if stop and self.at_boundary:
                break
        return at

    def _begin(self) -> None:
        head, self._head = self._head, b""
        self.closing = self.closing or head[0] & 0x0F == 0x8
        size = head[1] & 0x7F
        if size == 126:
            size = int.from_bytes(head[2:4], "big")
        elif size == 127:
            size = int.from_bytes(head[2:10], "big")
        self._left = size


def _head_size(head: bytes) -> int:
    """Bytes of a frame's head as far as its beginning tells (RFC 6455 §5.2)."""
    if len(head) < 2:
        return 2
    extended = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
    return 2 + extended + (4 if head[1] & 0x80 else 0)
