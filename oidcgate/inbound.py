"""
The facts of one request: what its head says, checked once and strictly.

Pure. Rules of this file:
- A head that two parsers could read differently is refused with a 4xx, never repaired (RFC 9112 §11.2).
- Facts are bytes as received; nothing is decoded.
- A ``Head`` depends on the header block alone, so that browsers, which send the same block again and again with
  another target, cost one look at a table.
"""

import re
from dataclasses import dataclass, field

from oidcgate.errors import RequestError

RawHeaders = tuple[tuple[bytes, bytes], ...]

# RFC 9112 §3.2.1: origin-form only. One leading slash, printable ASCII, no "#" and no backslash.
TARGET = re.compile(r"/(?:[!\"$-.0-\[\]-~][!\"$-\[\]-~]*)?")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
LONGEST_ACCEPT = 1024  # bytes; no browser's is longer
MOST_COOKIES = 200  # browsers keep fewer for one site
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HOST = re.compile(rb"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
# Versions after 00 may add fields after these; an id of zeros is none.
TRACEPARENT = re.compile(
    rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-|\Z)"
)
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Nominating these in Connection would delete a header that decides something (RFC 9110 §7.6.1 only names a few).
NEVER_NOMINATED = re.compile(
    rb"(?:host|authorization|cookie|content-.*|x-forwarded-.*|forwarded|sec-.*|origin|referer)"
)
FOLD = re.compile(rb"[_.-]+")  # servers behind us may read a run of these as one dash
ONCE = frozenset(
    {
        b"host",
        b"origin",
        b"referer",
        b"content-length",
        b"transfer-encoding",
        b"expect",
        b"upgrade",
        b"content-type",
    }
)
SECURITY_RELEVANT = re.compile(
    rb"(?:host|origin|referer|cookie|sec-.*|connection|upgrade|te|expect|x-.*|forwarded|via)"
)


@dataclass(frozen=True, slots=True)
class Head:
    """What one header block says. ``b""`` stands for absent where absence and emptiness mean the same."""

    authority: str
    cookie: bytes = field(repr=False)
    authorization: bytes = field(repr=False)
    origin: bytes | None
    referer: bytes
    fetch_site: bytes
    fetch_mode: bytes
    fetch_dest: bytes
    accept: bytes
    upgrade: bytes
    nominated: frozenset[bytes]
    chunked: bool
    length: int
    expects_continue: bool
    forwarded_for: bytes
    via: bytes
    trace: str = ""

    @property
    def has_body(self) -> bool:
        """Whether a body follows."""
        return self.chunked or self.length > 0


def check_request_line(method: str, target: str, version: tuple[int, int]) -> None:
    """
    Refuse what a reverse proxy must not pass on.

    Raises:
        RequestError: 400 for the target or version, 405 for the method.
    """
    if not TARGET.fullmatch(target):
        raise RequestError("The address in this request is not a path of this site.")
    if method not in METHODS:
        raise RequestError("This method is not allowed here.", status=405)
    if version not in ((1, 1), (1, 0)):
        raise RequestError("Only HTTP/1.0 and HTTP/1.1 are spoken here.")


def read_head(raw: RawHeaders, version: tuple[int, int]) -> Head:
    """
    Check a header block and gather its facts.

    Raises:
        RequestError: 400, with a sentence for the client.
    """
    values = _gather(raw)
    nominated = _nominated(values.get(b"connection", b""))
    chunked = _is_chunked(values, version)
    return Head(
        authority=_authority(values),
        cookie=_cookies(values),
        authorization=values.get(b"authorization", b""),
        origin=values.get(b"origin"),
        referer=values.get(b"referer", b""),
        fetch_site=values.get(b"sec-fetch-site", b""),
        fetch_mode=values.get(b"sec-fetch-mode", b""),
        fetch_dest=values.get(b"sec-fetch-dest", b""),
        accept=values.get(b"accept", b""),
        upgrade=values.get(b"upgrade", b"").strip(b" \t").lower() if b"upgrade" in nominated else b"",
        nominated=nominated,
        chunked=chunked,
        length=_length(values),
        expects_continue=_expects(values),
        forwarded_for=values.get(b"x-forwarded-for", b""),
        via=values.get(b"via", b"").lower(),
        trace=trace_id(values.get(b"traceparent", b"")),
    )


def trace_id(traceparent: bytes) -> str:
    """The trace that a request belongs to (W3C Trace Context §3.2); empty when it belongs to none."""
    found = TRACEPARENT.match(traceparent)
    return found[1].decode("ascii") if found else ""


def _gather(raw: RawHeaders) -> dict[bytes, bytes]:
    """Header values by lower-case name; several lines of a list are joined, several of a single value refused."""
    values: dict[bytes, bytes] = {}
    for name, value in raw:
        key = name.lower()
        if not value.isascii() and SECURITY_RELEVANT.fullmatch(key):
            raise RequestError(f"The header {key.decode('ascii', 'replace')} holds bytes that are not ASCII.")
        if key not in values:
            values[key] = value
        elif key in ONCE:
            raise RequestError(f"The header {key.decode('ascii', 'replace')} may be sent once only.")
        else:
            values[key] += (b"; " if key == b"cookie" else b", ") + value
    return values


def _authority(values: dict[bytes, bytes]) -> str:
    host = values.get(b"host", b"")
    if not HOST.fullmatch(host):
        raise RequestError("The Host header is missing or malformed.")
    return host.decode("ascii").lower()


def _cookies(values: dict[bytes, bytes]) -> bytes:
    cookie = values.get(b"cookie", b"")
    if cookie.count(b";") >= MOST_COOKIES:
        raise RequestError("Too many cookies; delete those of this site and try again.", status=431)
    return cookie


def _nominated(connection: bytes) -> frozenset[bytes]:
    """The lower-case tokens of Connection (RFC 9110 §7.6.1)."""
    tokens = frozenset(token.strip(b" \t").lower() for token in connection.split(b",") if token.strip(b" \t"))
    for token in tokens:
        if not TOKEN.fullmatch(token) or NEVER_NOMINATED.fullmatch(FOLD.sub(b"-", token)):
            raise RequestError("The Connection header names a header that may not be removed.")
    return tokens


def _is_chunked(values: dict[bytes, bytes], version: tuple[int, int]) -> bool:
    coding = values.get(b"transfer-encoding")
    if coding is None:
        return False
    if coding.strip(b" \t").lower() != b"chunked" or version != (1, 1) or b"content-length" in values:
        raise RequestError("Only `Transfer-Encoding: chunked` alone is understood, on HTTP/1.1.")
    return True


def _length(values: dict[bytes, bytes]) -> int:
    text = values.get(b"content-length", b"0")
    if not text.isdigit() or len(text) > 18:
        raise RequestError("The Content-Length is not a number.")
    return int(text)


def _expects(values: dict[bytes, bytes]) -> bool:
    expect = values.get(b"expect", b"").strip(b" \t").lower()
    if expect and expect != b"100-continue":
        raise RequestError("Only `Expect: 100-continue` is understood.", status=417)
    return bool(expect)


def prefers_html(accept: bytes) -> bool:
    """Whether an Accept header (RFC 9110 §12.5.1) names text/html, with no other kind of data ranked above it."""
    if len(accept) > LONGEST_ACCEPT:
        return False
    html, others = 0.0, 0.0
    for part in accept.split(b","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(b";"))
        quality = _quality(parameters)
        if kind in (b"text/html", b"application/xhtml+xml"):
            html = max(html, quality)
        elif kind and b"*" not in kind:  # an empty element says nothing (RFC 9110 §5.6.1.2)
            others = max(others, quality)
    return html > 0 and html >= others


def _quality(parameters: list[bytes]) -> float:
    for parameter in parameters:
        if parameter.startswith(b"q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def is_navigation(method: str, head: Head) -> bool:
    """
    Whether a browser is opening a page, as opposed to a script fetching data (W3C Fetch Metadata §2).

    Does not look at the path: whether that is an API is for the UI's preset to say.
    """
    if method not in ("GET", "HEAD") or head.upgrade:
        return False
    if head.fetch_mode or head.fetch_dest:
        return head.fetch_mode == b"navigate" and head.fetch_dest == b"document"
    return prefers_html(head.accept)
