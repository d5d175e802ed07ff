"""
Where a login may lead back to: a path of our own site, or of another site of ours, and nothing else.

Pure. Rules of this file:
- What is tested is exactly what is sent: nothing is decoded or normalised before the test, and the Location is
  rebuilt as an origin of ours + path, so that a missed trick could change the path only.
- Another host is one of ours by its whole name or not at all; what names a foreign one is told from what names none.
- The fragment travels apart, is never judged, and is appended percent-encoded.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

MOST = 2048
# Printable ASCII, no backslash; begins with one slash that neither a slash nor a backslash follows.
PATH = re.compile(r"/(?:[!-.0-\[\]-~][!-\[\]-~]*)?")
# A "." or ".." segment in any encoding: browsers treat %2e as a dot (WHATWG URL, double-dot path segment).
DOT_SEGMENT = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?=/|\?|#|$)", re.IGNORECASE)
FRAGMENT_SAFE = re.compile(r"[!$-;=?-\[\]_a-z~-]")


def safe_path(text: str) -> str | None:
    """The text when it is a path (and query) of our own that a login may lead back to, else None."""
    if len(text) > MOST or not PATH.fullmatch(text) or "#" in text:
        return None
    if DOT_SEGMENT.search(text.partition("?")[0]):
        return None
    return text


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a login leads back to: an origin of ours, and a path that ``safe_path`` passed."""

    origin: str
    path: str


# An absolute address: lower-case host names only, whose last label begins with a letter, so that no spelling of an IPv4
# address is one (WHATWG URL, ends-in-a-number checker); nothing before the host and nothing odd behind it.
LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
ABSOLUTE = re.compile(rf"(https?)://((?:{LABEL}\.)*[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?)(?::([0-9]{{1,5}}))?(/.*)?")
PORTS = {"https": "443", "http": "80"}


def destination(text: str, *, own: str, is_ours: Callable[[str, str], bool]) -> Destination | None:
    """
    Where a login may lead back to; None when it names a host that is not ours. What is no address leads to ``/``.

    Args:
        text: a path of the own site, or an absolute URL.
        own: the own site's origin.
        is_ours: whether a scheme and an authority (host, and port unless it is the scheme's own) are.
    """
    if text == own or text.startswith(f"{own}/"):
        return Destination(own, safe_path(text[len(own) :] or "/") or "/")
    match = ABSOLUTE.fullmatch(text)
    if match is None:
        return Destination(own, safe_path(text) or "/")
    scheme, host, port, path = match.groups()
    authority = host if port in (None, PORTS[scheme]) else f"{host}:{port}"
    if not is_ours(scheme, authority):
        return None
    return Destination(f"{scheme}://{authority}", safe_path(path or "/") or "/")


def location(origin: str, path: str, fragment: str = "") -> str:
    """An absolute Location: configured origin, a path that ``safe_path`` passed, and the fragment encoded."""
    return f"{origin}{path}#{encode_fragment(fragment)}" if fragment else origin + path


def safe_fragment(text: str) -> str:
    """The fragment (without ``#``) when it is at most 2048 printable ASCII characters, else nothing."""
    return text if len(text) <= MOST and text.isascii() and text.isprintable() else ""


def encode_fragment(text: str) -> str:
    """Percent-encode what may not stand in a fragment (RFC 3986 §3.5); existing escapes stay."""
    return "".join(c if FRAGMENT_SAFE.fullmatch(c) else f"%{ord(c):02X}" for c in text)
