"""
Which of the client's headers go on to the UI.

Pure. The order matters (RFC 9110 §7.6.1): nominated headers go first, then hop-by-hop, identity and forwarding ones;
our own are added by ``rewrite`` after that, so that no client can name them away.
Names are compared with case folded and runs of ``_`` and ``.`` read as ``-``, because servers behind us may do so.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from oidcgate.inbound import Head, RawHeaders
from oidcgate.session.cookies import without_cookies

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
    }
)
# Framing and routing that the gate writes itself.
OURS = frozenset({"host", "cookie", "content-length", "expect", "via", "max-forwards"})
# Whoever sends these claims to be somebody, or to have come another way.
IDENTITY = frozenset({"authorization", "jwetoken", "x-http-method-override", "x-http-method", "x-method-override"})
FORWARDING = frozenset({"forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "x-cluster-client-ip", "client-ip"})
PREFIXES = (
    "impersonate-",
    "x-remote-",
    "x-forwarded-",
    "x-auth-request-",
    "x-original-",
    "x-webauth-",
    "x-rewrite-",
    "proxy-",
)
FOLD = re.compile(r"[_.-]+")
DROPPED = HOP_BY_HOP | OURS | IDENTITY | FORWARDING


def canonical(name: bytes) -> str:
    """A header name as the most forgiving server would read it."""
    return FOLD.sub("-", name.decode("latin-1").lower())


@lru_cache(maxsize=2048)
def is_dropped(name: bytes) -> bool:
    """Whether a client's header never goes on."""
    folded = canonical(name)
    return folded in DROPPED or folded.startswith(PREFIXES)


def end_to_end(
    raw: RawHeaders,
    head: Head,
    *,
    own: bytes,
    others: Iterable[bytes] = (),
    websocket: bool = False,
    dropped: frozenset[str] = frozenset(),
) -> bytes:
    """
    The client's headers that go on, as a block of lines.

    Args:
        own: cookies whose names begin with this stay here.
        others: further cookies that stay here.
        dropped: further names, in canonical form, that the gate itself sends.
        websocket: the handshake's own headers (``Sec-WebSocket-*``) are left out too; the tunnel writes them.
    """
    left_out = dropped | {canonical(token) for token in head.nominated}
    lines = []
    for name, value in raw:
        if is_dropped(name) or canonical(name) in left_out:
            continue
        if websocket and canonical(name).startswith("sec-websocket-"):
            continue
        lines.append(name + b": " + value + b"\r\n")
    cookie = without_cookies(head.cookie, own=own, others=others)
    if cookie:
        lines.append(b"Cookie: " + cookie + b"\r\n")
    return b"".join(lines)
