"""
Where a login may lead back to: a path of our own site, and nothing else.

Pure. Rules of this file:
- What is tested is exactly what is sent: nothing is decoded or normalised before the test, and the Location is
  rebuilt as configured origin + path, so that a missed trick could change the path only.
- The fragment travels apart, is never judged, and is appended percent-encoded.
"""

import re

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


def return_to(text: str, *, origin: str) -> str:
    """
    A path that a login may lead back to: the given one if it is safe, else ``/``.

    Args:
        text: a path, or an absolute URL that begins with exactly our own origin.
        origin: the site's origin, such as ``https://dashboard.example.com``.
    """
    path = text[len(origin) :] or "/" if text.startswith(origin) else text
    return safe_path(path) or "/"


def location(origin: str, path: str, fragment: str = "") -> str:
    """An absolute Location: configured origin, a path that ``return_to`` passed, and the fragment encoded."""
    return f"{origin}{path}#{encode_fragment(fragment)}" if fragment else origin + path


def safe_fragment(text: str) -> str:
    """The fragment (without ``#``) when it is at most 2048 printable ASCII characters, else nothing."""
    return text if len(text) <= MOST and text.isascii() and text.isprintable() else ""


def encode_fragment(text: str) -> str:
    """Percent-encode what may not stand in a fragment (RFC 3986 §3.5); existing escapes stay."""
    return "".join(c if FRAGMENT_SAFE.fullmatch(c) else f"%{ord(c):02X}" for c in text)
