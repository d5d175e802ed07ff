"""
Chunked transfer coding of replies, decoded strictly (RFC 9112 §7.1).

Pure. Extensions and trailers are dropped; a bare LF, an empty or over-long size and a missing CRLF are errors, so that
nothing ambiguous is passed on.
"""

import re
from typing import Protocol

SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
MOST_LINE = 4096
MOST_TRAILERS = 16384


class ChunkError(ValueError):
    """The chunk framing is broken."""


class Decoder(Protocol):
    """Finds the data in a body that comes in pieces."""

    @property
    def is_done(self) -> bool:
        """Whether the body is complete."""

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """As ``ChunkedDecoder.feed``."""


class ChunkedDecoder:
    """Finds the data in a chunked body; holds back at most one unfinished framing line."""

    __slots__ = ("_held", "_left", "_state", "_trailers")

    def __init__(self) -> None:
        self._held = b""
        self._left = 0
        self._state = "size"
        self._trailers = 0

    @property
    def is_done(self) -> bool:
        """Whether the last chunk and the trailers have passed."""
        return self._state == "done"

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """
        Take in bytes.

        Returns:
            The pieces of data in order, and what follows the body once it is done.

        Raises:
            ChunkError: broken framing.
        """
        pieces: list[bytes] = []
        if self._held:
            data, self._held = self._held + data, b""
        at, size = 0, len(data)
        while at < size and self._state != "done":
            if self._state == "data":
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = "end"
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                self._hold(data[at:])
                return pieces, b""
            self._line(data[at:end])
            at = end + 2
        return pieces, data[at:]

    def _hold(self, rest: bytes) -> None:
        if len(rest) > MOST_LINE or (self._state == "end" and not b"\r\n".startswith(rest)):
            raise ChunkError("a framing line without an end")
        self._held = rest

    def _line(self, line: bytes) -> None:
        if self._state == "end":
            if line:
                raise ChunkError("data longer than its chunk")
            self._state = "size"
        elif self._state == "size":
            match = SIZE_LINE.fullmatch(line)
            if match is None or len(line) > MOST_LINE:
                raise ChunkError("not a chunk size")
            self._left = int(match[1], 16)
            self._state = "data" if self._left else "trailers"
        elif not line:
            self._state = "done"
        else:
            self._trailers += len(line)
            if self._trailers > MOST_TRAILERS or b"\n" in line or b"\r" in line:
                raise ChunkError("unusable trailers")


def encode_chunk(pieces: list[bytes]) -> bytes:
    """Pieces of data as one chunk; nothing for no data, since an empty chunk would end the body."""
    size = sum(map(len, pieces))
    return b"".join((b"%x\r\n" % size, *pieces, b"\r\n")) if size else b""


LAST_CHUNK = b"0\r\n\r\n"
