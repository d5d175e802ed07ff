"""
A reply's head: checked strictly, then rewritten for the browser.

Pure. Rules of this file:
- What a strict parser would not accept is never passed on; it becomes a 502 (RFC 9112 §4, §5).
- Framing is always ours: Content-Length where it is known, else chunked.
- Header lines repeat from reply to reply, so each is judged once and the verdict is kept in a bounded table; a head
  costs a look-up a line. Whole heads repeat too, but for their Date: then it costs one look-up.
"""

import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from oidcgate.inbound import TOKEN
from oidcgate.session.cookies import folded, is_named

MOST_HEAD = 65536
MOST_LINES = 200
MOST_MEMORY = 4096  # lines remembered
MOST_LINE_REMEMBERED = 512  # bytes; longer ones are judged each time

STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")
LENGTH = re.compile(rb"[0-9]{1,18}")
DATE_BEGIN = b"\r\nDate: "
# With the CRLF behind it unless it is the last line: what is left must not run together with the line before.
DATE = re.compile(
    rb"(\r\nDate: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT)(?:\r\n)?"
)
DATE_SIZE = 37  # bytes of such a line (RFC 9110 §5.6.7), its own CRLF in front
DATE_SEEN = DATE_SIZE + 2
MOST_HEADS = 1024  # remembered
MOST_HEAD_REMEMBERED = 2048  # bytes
END = b"\r\n\r\n"

# What a line turned out to be, as bits, so that one OR a line gathers them.
COMES_WITH_LENGTH = 1
IS_CHUNKED = 2
CLOSES = 4
HAS_FRAME_OPTIONS = 8
HAS_NOSNIFF = 16
HAS_CACHE_CONTROL = 32
IS_CACHEABLE = 64
VARIES_BY_COOKIE = 128
NOMINATES = 256
KEEPS_ALIVE = 512
UPGRADES = 1024
EACH_TIME = 1 << 20  # the verdict depends on more than the line, or the line is a secret: not remembered

DROPPED = frozenset(
    {
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"te",
        b"trailer",
        b"http2-settings",
        b"server",
        b"x-powered-by",
        b"clear-site-data",
        b"alt-svc",
    }
)


class Framing(Enum):
    """How the length of a reply's body is known."""

    NONE = "no body"
    LENGTH = "Content-Length"
    CHUNKED = "chunked"
    CLOSE = "until the connection ends"


class BadReply(ValueError):
    """The head is not one that may be passed on."""


class Reply(NamedTuple):
    """
    A reply ready for the browser.

    ``head`` is complete, blank line included, for an HTTP/1.1 browser; ``reusable`` says whether the upstream's
    connection may serve another request once the body has passed.
    """

    status: int
    head: bytes
    framing: Framing
    length: int
    reusable: bool
    repeats: bool = False  # whether nothing in it is a secret or depends on more than the head


class ReplyRewriter:
    """
    Rewrites the heads of one upstream's replies for one site.

    Args:
        origin: the site's, such as ``https://dashboard.example.com``.
        upstream_origins: the upstream's own origins; only a Location that begins with one is rewritten.
        own: names that begin with this only the gate may set.
        others: cookies that the UI may not set either: they would tell it of another identity.
    """

    def __init__(
        self, *, origin: str, upstream_origins: tuple[str, ...], own: bytes, others: Iterable[bytes] = ()
    ) -> None:
        self._origin = origin.encode()
        self._host = self._origin.partition(b"://")[2].rpartition(b":")[0] or self._origin.partition(b"://")[2]
        self._upstreams = tuple(origin.encode() for origin in upstream_origins)
        self._kept = (folded(own) + b"*", *(folded(name) for name in others))
        self._lines: dict[bytes, tuple[int, bytes]] = {}
        self._statuses: dict[bytes, tuple[int, bytes, bool]] = {}
        self._heads: dict[bytes, Reply] = {}  # of usual replies, less the Date and the end
        self._date = self._date_line = b""  # the last one seen to be well-formed, with and without the CRLF behind it

    def read_usual(self, head: bytes) -> Reply:
        """
        As ``read``, for a GET whose browser speaks HTTP/1.1 and stays connected.

        Raises:
            BadReply: it must not be passed on.
        """
        at = head.find(DATE_BEGIN)
        date = head[at : at + DATE_SEEN]
        if at < 0 or (date != self._date and not self._is_date(date)):
            return self.read(head, method="GET")
        key = head[:at] + head[at + DATE_SIZE :]
        known = self._heads.get(key)
        if known is None:
            known = self.read(key, method="GET")
            known = known._replace(head=known.head[: -len(END)])
            if known.repeats and len(key) <= MOST_HEAD_REMEMBERED:
                if len(self._heads) >= MOST_HEADS:
                    self._heads.clear()
                self._heads[key] = known
        status, text, framing, length, reusable, _ = known
        return Reply(status, text + self._date_line + END, framing, length, reusable)

    def _is_date(self, date: bytes) -> bool:
        match = DATE.fullmatch(date)
        if match is None:
            return False
        self._date, self._date_line = date, match[1]
        return True

    def read(self, head: bytes, *, method: str, client_http11: bool = True, keep_alive: bool = True) -> Reply:
        """
        Judge and rewrite a head.

        Args:
            head: from the status line up to and without the final blank line's CRLF.
            method: of the request: the reply to HEAD has no body.
            client_http11: whether the browser understands chunked.
            keep_alive: whether the browser's connection stays open.

        Raises:
            BadReply: it must not be passed on.
        """
        lines = head.split(b"\r\n")
        if len(lines) > MOST_LINES:
            raise BadReply("too many header lines")
        status, status_line, is_http11 = self._status(lines[0])
        flags, length, out = self._fields(lines)
        framing = self._framing(method, status, flags, is_http11)
        if not is_http11 and not flags & KEEPS_ALIVE:
            flags |= CLOSES
        tail = self._tail(framing, length, status, flags, client_http11, keep_alive)
        return Reply(
            status=status,
            head=b"".join((status_line, *out, tail)),
            framing=framing,
            length=max(length, 0),
            reusable=not flags & CLOSES and framing is not Framing.CLOSE,
            repeats=not flags & EACH_TIME,
        )

    def _status(self, line: bytes) -> tuple[int, bytes, bool]:
        known = self._statuses.get(line)
        if known is None:
            match = STATUS.fullmatch(line)
            if match is None:
                raise BadReply("not a status line")
            known = (int(match[2]), b"HTTP/1.1 %b %b\r\n" % (match[2], match[3] or b""), match[1] == b"1")
            if len(self._statuses) < 256 and len(line) < MOST_LINE_REMEMBERED:
                self._statuses[line] = known
        return known

    def _fields(self, lines: list[bytes]) -> tuple[int, int, list[bytes]]:
        flags, length, out = 0, -1, []
        remembered = self._lines.get
        for line in lines[1:]:
            verdict = remembered(line) or self._learn(line)
            flag, text = verdict
            if flag & COMES_WITH_LENGTH:
                if length >= 0:
                    raise BadReply("two lengths")
                length = int(line.partition(b":")[2])
            elif flag & flags & IS_CHUNKED:
                raise BadReply("two transfer codings")
            flags |= flag
            if text:
                out.append(text)
        if flags & IS_CHUNKED and length >= 0:
            raise BadReply("both a length and chunked")
        if flags & NOMINATES:
            flags, out = self._without_nominated(lines, flags)
        return flags, length, out

    def _learn(self, line: bytes) -> tuple[int, bytes]:
        verdict = self._judge(line)
        if not verdict[0] & EACH_TIME and len(line) <= MOST_LINE_REMEMBERED:
            if len(self._lines) >= MOST_MEMORY:
                self._lines.clear()
            self._lines[line] = verdict
        return verdict

    def _judge(self, line: bytes) -> tuple[int, bytes]:
        match = FIELD.fullmatch(line)
        if match is None:
            raise BadReply("a malformed header line")
        name, value = match[1].lower(), match[2].strip(b" \t")
        if name in DROPPED or name.startswith(b"proxy-"):
            return 0, b""
        judge = _JUDGES.get(name)
        if judge is not None:
            return judge(value)
        whole = line + b"\r\n"
        if name == b"set-cookie":
            return EACH_TIME, whole if self._may_set(value) else b""
        if name in (b"location", b"content-location", b"refresh"):
            return EACH_TIME, match[1] + b": " + self._relocated(value) + b"\r\n"
        if name == b"access-control-allow-origin":
            return 0, whole if value == self._origin else b""
        return _mark(name, value), whole

    def _may_set(self, value: bytes) -> bool:
        """Whether the upstream may set this cookie: not ours, and not for more hosts than its own."""
        name, *attributes = (part.strip(b" \t") for part in value.split(b";"))
        name = name.lstrip(b"= \t")  # browsers send a nameless cookie as its value alone (RFC 6265bis §5.8.3)
        if is_named(folded(name.partition(b"=")[0]), self._kept):
            return False
        domains = [
            a.partition(b"=")[2].strip().lower().lstrip(b".") for a in attributes if a.lower().startswith(b"domain")
        ]
        return all(domain == self._host for domain in domains)

    def _relocated(self, value: bytes) -> bytes:
        for upstream in self._upstreams:
            if value.startswith(upstream) and value[len(upstream) : len(upstream) + 1] in (
                b"",
                b"/",
                b"?",
                b"#",
            ):
                return self._origin + value[len(upstream) :]
        return value

    def _without_nominated(self, lines: list[bytes], flags: int) -> tuple[int, list[bytes]]:
        """
        Judge once more, without what Connection names (RFC 9110 §7.6.1): a header that is dropped counts for nothing.

        Date stays, as ``read_usual`` needs it; a nomination cannot change the framing.
        """
        fields = [(line.partition(b":")[0].lower(), line) for line in lines[1:]]
        options = b",".join(line.partition(b":")[2] for name, line in fields if name == b"connection")
        nominated = {option.strip().lower() for option in options.split(b",")} - {b"date"}
        verdicts = [self._judge(line) for name, line in fields if name not in nominated]
        flags &= COMES_WITH_LENGTH | IS_CHUNKED | CLOSES | KEEPS_ALIVE | EACH_TIME
        for flag, _ in verdicts:
            flags |= flag
        return flags, [text for _, text in verdicts if text]

    @staticmethod
    def _framing(method: str, status: int, flags: int, is_http11: bool) -> Framing:
        if flags & IS_CHUNKED and not is_http11:
            raise BadReply("chunked on HTTP/1.0")
        if method == "HEAD" or status in (204, 304) or status < 200:
            return Framing.NONE
        if flags & IS_CHUNKED:
            return Framing.CHUNKED
        return Framing.LENGTH if flags & COMES_WITH_LENGTH else Framing.CLOSE

    @staticmethod
    def _tail(framing: Framing, length: int, status: int, flags: int, client_http11: bool, keep_alive: bool) -> bytes:
        parts = []
        if framing in (Framing.CHUNKED, Framing.CLOSE):
            parts.append(b"Transfer-Encoding: chunked\r\n" if client_http11 else b"")
            keep_alive = keep_alive and client_http11
        elif length >= 0 and status != 204:
            parts.append(b"Content-Length: %d\r\n" % length)
        if not flags & HAS_FRAME_OPTIONS:
            parts.append(b"X-Frame-Options: SAMEORIGIN\r\n")
        if not flags & HAS_NOSNIFF:
            parts.append(b"X-Content-Type-Options: nosniff\r\n")
        if not flags & HAS_CACHE_CONTROL:
            parts.append(b"Cache-Control: private\r\n")
        elif flags & IS_CACHEABLE and not flags & VARIES_BY_COOKIE:
            parts.append(b"Vary: Cookie\r\n")
        if not keep_alive:
            parts.append(b"Connection: close\r\n\r\n")
        else:
            parts.append(b"\r\n" if client_http11 else b"Connection: keep-alive\r\n\r\n")
        return b"".join(parts)


def _mark(name: bytes, value: bytes) -> int:
    """Flags of a header that is passed on as it is."""
    low = value.lower()
    if name == b"x-frame-options" or (name == b"content-security-policy" and b"frame-ancestors" in low):
        return HAS_FRAME_OPTIONS
    if name == b"x-content-type-options":
        return HAS_NOSNIFF
    if name == b"cache-control":
        closed = b"private" in low or b"no-store" in low
        return HAS_CACHE_CONTROL | (0 if closed else IS_CACHEABLE)
    if name == b"vary" and {b"cookie", b"*"} & {field.strip() for field in low.split(b",")}:
        return VARIES_BY_COOKIE
    return 0


def _length(value: bytes) -> tuple[int, bytes]:
    if not LENGTH.fullmatch(value):
        raise BadReply("a length that is no number")
    return COMES_WITH_LENGTH, b""


def _coding(value: bytes) -> tuple[int, bytes]:
    if value.lower() != b"chunked":
        raise BadReply("a transfer coding other than chunked")
    return IS_CHUNKED, b""


def _connection(value: bytes) -> tuple[int, bytes]:
    flags = 0
    for part in value.lower().split(b","):
        token = part.strip()
        if token == b"close":
            flags |= CLOSES
        elif token == b"keep-alive":
            flags |= KEEPS_ALIVE
        elif token != b"upgrade" and TOKEN.fullmatch(token):  # Upgrade goes in any case
            flags |= NOMINATES
    return flags, b""


def _upgrade(_value: bytes) -> tuple[int, bytes]:
    return UPGRADES, b""


_JUDGES = {
    b"content-length": _length,
    b"transfer-encoding": _coding,
    b"connection": _connection,
    b"upgrade": _upgrade,
}
