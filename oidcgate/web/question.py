"""
A request to explain: what is asked, and the header block with which a browser would send it.

Pure.
"""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlsplit

from aiohttp import HttpVersion11

from oidcgate.config.addresses import parse_origin
from oidcgate.errors import ConfigError, Problem
from oidcgate.inbound import RawHeaders
from oidcgate.session.session import HANDLE_LENGTH
from oidcgate.web.site import SiteRuntime

Kind = Literal["page", "script", "websocket"]
HANDLE = "A" * HANDLE_LENGTH
BROWSER = "<the browser's address>"
HTML = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
FETCHED: dict[Kind, tuple[bytes, bytes, bytes]] = {  # Accept, Sec-Fetch-Mode, Sec-Fetch-Dest
    "page": (HTML, b"navigate", b"document"),
    "script": (b"*/*", b"cors", b"empty"),
    "websocket": (b"*/*", b"websocket", b"websocket"),
}
HANDSHAKE = (
    (b"Connection", b"Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
)
DOES = {"page": "a browser opens a page", "script": "a page's script asks", "websocket": "a page opens a websocket"}
ADDRESS = "".join(map(chr, range(0x21, 0x7F)))  # what browsers leave as it is typed


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks; the address counts as verified."""

    email: str | None = None
    subject: str | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """
    A request to explain.

    Attributes:
        person: None = nobody is signed in.
        origin: whose page makes it; None = our own pages, or the person who types the address.
    """

    url: str
    method: str = "GET"
    person: Person | None = None
    kind: Kind = "page"
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """As much of a request as facts need."""

    method: str
    raw_path: str
    raw_headers: RawHeaders
    version: tuple[int, int] = HttpVersion11


@dataclass(frozen=True, slots=True)
class Connected:
    """As much of a connection as forwarding headers need."""

    address: str


def read_url(url: str) -> tuple[str, str]:
    """
    The Host and the target that a browser sends for an address.

    Raises:
        ConfigError: it is none.
    """
    try:
        parts = urlsplit(url)
        origin = parse_origin(f"{parts.scheme}://{parts.netloc}")
    except ValueError as error:
        raise ConfigError([Problem("--url", str(error))]) from None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return origin.authority, quote(target, safe=ADDRESS)


def read_origin(text: str) -> str:
    """
    An origin as browsers send it; ``null`` is what a sandboxed page has.

    Raises:
        ConfigError: it is none.
    """
    try:
        return text if text == "null" else str(parse_origin(text.removesuffix("/")))
    except ValueError as error:
        raise ConfigError([Problem("--from", str(error))]) from None


def header_block(site: SiteRuntime, question: Question) -> RawHeaders:
    """
    What a browser sends; that two hosts may be of one site changes nothing here, and is left out.

    The cookie comes along whoever asks, since the gate must not rely on SameSite.
    """
    accept, mode, dest = FETCHED[question.kind]
    is_foreign = question.origin not in (None, site.origin)
    changes = question.method not in ("GET", "HEAD")
    typed = question.kind == "page" and question.origin is None and not changes
    where = b"cross-site" if is_foreign else b"none" if typed else b"same-origin"
    block = [
        (b"Host", site.authority.encode()),
        (b"Accept", accept),
        (b"Sec-Fetch-Site", where),
        (b"Sec-Fetch-Mode", mode),
        (b"Sec-Fetch-Dest", dest),
    ]
    if changes or question.kind == "websocket" or (question.kind == "script" and is_foreign):
        block.append((b"Origin", (question.origin or site.origin).encode()))
    if question.kind == "websocket":
        block += HANDSHAKE
    if question.person is not None:
        block.append((b"Cookie", site.names.session + b"=" + HANDLE.encode()))
    return tuple(block)
