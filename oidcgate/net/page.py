"""
An exchange whose reply may be the page that the badge goes into.

Edge: as ``relay``. Only requests that open pages are made of this; their bodies pass piece by piece as all others do,
and both ways wait for the slower side as there. What differs: a page's length is not known, so it goes on chunked.
"""

from oidcgate.net.relay import Exchange
from oidcgate.proxy.badge import Badge, Insertion
from oidcgate.proxy.chunked import ChunkedDecoder, Decoder, encode_chunk
from oidcgate.proxy.reply import Framing, Reply


class Whole:
    """A body whose length is known, or that ends with the connection, read as if it were chunked."""

    __slots__ = ("_left",)

    def __init__(self, length: int | None) -> None:
        self._left = length

    @property
    def is_done(self) -> bool:
        """Whether all of it has passed."""
        return self._left == 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """As ``ChunkedDecoder``."""
        if self._left is None:
            return [data], b""
        piece = data[: self._left]
        self._left -= len(piece)
        return [piece], data[len(piece) :]


class PageDecoder:
    """Finds the data in a page's body, and passes it through the insertion."""

    __slots__ = ("_inner", "_insertion")

    def __init__(self, inner: Decoder, insertion: Insertion) -> None:
        self._inner = inner
        self._insertion = insertion

    @property
    def is_done(self) -> bool:
        """Whether the body is complete."""
        return self._inner.is_done

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """As ``ChunkedDecoder``."""
        pieces, surplus = self._inner.feed(data)
        out = [part for piece in pieces for part in self._insertion.feed(piece)]
        if self._inner.is_done:
            out.append(self._insertion.rest())
        return out, surplus


class PageExchange(Exchange):
    """
    A request of somebody who opens a page.

    Attributes:
        badge: what goes into the reply, if that is a page.
    """

    badge: Badge
    _ends_by_closing = False
    _insertion: Insertion | None = None

    def _begin(self, reply: Reply, rest: bytes) -> None:
        page = self.badge.page(reply, http11=self._http11)
        if page is not None:
            self._insertion = page.insertion
            self._ends_by_closing = reply.framing is Framing.CLOSE
            length = reply.length if reply.framing is Framing.LENGTH else None
            inner = ChunkedDecoder() if reply.framing is Framing.CHUNKED else Whole(length)
            self._decoder = PageDecoder(inner, page.insertion)
            self.keep_alive = self.keep_alive and self._http11
            reply = page.reply
        super()._begin(reply, rest)

    def upstream_lost(self, error: Exception | None) -> None:
        """As ``upstream.Sink``: with such a page's end comes what its insertion held back."""
        if self._ends_by_closing and error is None and self._insertion is not None and not self.is_done:
            self._framing = Framing.CLOSE
            self.connection = None
            if rest := self._insertion.rest():
                self._write(encode_chunk([rest]) if self._http11 else rest)
        super().upstream_lost(error)
