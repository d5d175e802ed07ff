"""
SPDY/3.1 as kubectl, older clients and kube-apiserver speak it for exec and port-forward: the side that is called.

Sans-I/O: bytes in, events out, bytes to send. As in the Kubernetes libraries there is no flow control and no priority;
header blocks are compressed with the dictionary of the draft.
Sources: SPDY draft 3.1 §2.6, §2.6.10; moby/spdystream.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

NAMES = """
options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow
authorization cache-control connection content-base content-encoding content-language content-length
content-location content-md5 content-range content-type date etag expect expires from host if-match
if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma
proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade
user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie
keep-alive origin
"""
TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritativ"
    "e Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 I"
    "nternal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec"
    " 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xm"
    "l,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset="
    "iso-8859-1,utf-,*,enq=0."
)
WORDS = [name.replace("_", " ").encode() for name in NAMES.split()]
DICTIONARY = b"".join(len(word).to_bytes(4, "big") + word for word in WORDS) + TEXT.encode()
CONTROL, VERSION = 0x80000000, 3
SYN_REPLY, PING = 2, 6
FIN = 1


@dataclass(frozen=True)
class Opened:
    """The client opened a stream; names are in lower case."""

    stream: int
    headers: dict[str, str]


@dataclass(frozen=True)
class Arrived:
    """Bytes on a stream; no bytes mean that nothing follows."""

    stream: int
    data: bytes


class Spdy:
    """One connection, from the side that was called."""

    def __init__(self) -> None:
        self._received = b""
        self._sending = b""
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def receive(self, data: bytes) -> Iterator[Opened | Arrived]:
        """What these bytes complete; some of it is answered at once, see `to_send`."""
        self._received += data
        while len(self._received) >= 8:
            first, second = struct.unpack_from(">II", self._received)
            end = 8 + (second & 0xFFFFFF)
            if len(self._received) < end:
                return
            body, self._received = self._received[8:end], self._received[end:]
            if first & CONTROL:
                yield from self._control(first & 0xFFFF, second >> 24, body)
            else:
                yield from _arrived(first, body, second >> 24)

    def to_send(self) -> bytes:
        """Answers to what was received."""
        sending, self._sending = self._sending, b""
        return sending

    def data(self, stream: int, data: bytes, *, end: bool = False) -> bytes:
        """A data frame; ``end`` says that nothing follows on this stream."""
        return struct.pack(">II", stream, (FIN if end else 0) << 24 | len(data)) + data

    def _control(self, kind: int, flags: int, body: bytes) -> Iterator[Opened | Arrived]:
        match kind:
            case 1:  # SYN_STREAM
                stream = int.from_bytes(body[:4], "big")
                yield Opened(stream, self._headers(body[10:]))
                nothing = self._deflate.compress(bytes(4)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
                self._sending += _control(SYN_REPLY, body[:4] + nothing)
                yield from _arrived(stream, b"", flags)
            case 3:  # RST_STREAM
                yield Arrived(int.from_bytes(body[:4], "big"), b"")
            case 6:  # PING
                self._sending += _control(PING, body)
            case _:  # settings, GOAWAY, window updates: nothing to do
                pass

    def _headers(self, block: bytes) -> dict[str, str]:
        raw = self._inflate.decompress(block)
        at = 4

        def text() -> str:
            nonlocal at
            size = int.from_bytes(raw[at : at + 4], "big")
            at += 4 + size
            return raw[at - size : at].decode()

        return {text(): text() for _ in range(int.from_bytes(raw[:4], "big"))}


def _control(kind: int, body: bytes) -> bytes:
    return struct.pack(">II", CONTROL | VERSION << 16 | kind, len(body)) + body


def _arrived(stream: int, data: bytes, flags: int) -> Iterator[Arrived]:
    if data:
        yield Arrived(stream, data)
    if flags & FIN:
        yield Arrived(stream, b"")
