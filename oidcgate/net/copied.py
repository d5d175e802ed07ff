"""
An exchange that keeps a copy of a small reply.

Edge: as ``relay``. Only the few requests whose answer must be known are made of this; not a byte of it is changed.
"""

from oidcgate.net.relay import Exchange
from oidcgate.proxy.chunked import ChunkedDecoder, ChunkError

MOST_KEPT = 16 * 1024  # bytes of head and body together


class CopiedExchange(Exchange):
    """A request whose reply is looked at once it has passed."""

    _kept = b""

    def _write(self, data: bytes) -> None:
        self._kept += data[: MOST_KEPT + 1 - len(self._kept)]
        super()._write(data)

    @property
    def body(self) -> bytes:
        """The body that was passed on; empty when it is not complete, or not small."""
        if self.failure is not None or len(self._kept) > MOST_KEPT:
            return b""
        head, _, body = self._kept.partition(b"\r\n\r\n")
        if b"\r\ntransfer-encoding: chunked" not in head.lower():
            return body
        try:
            return b"".join(ChunkedDecoder().feed(body)[0])
        except ChunkError:
            return b""
