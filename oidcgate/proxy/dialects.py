"""
What a proxy asks when it carries a request itself: whose words those are, and what they say.

Pure. Rules of this file:
- The original method, host and target are taken only from what that very peer overwrites, and each exactly once; a
  word that is missing, there twice or malformed is refused, never guessed (KU-05).
- What is left of the headers is the client's own block, as it would have come to us: it is judged by the same code.
- A query in the question itself says nothing: Caddy appends the client's.

Sources: nginx ngx_http_auth_request_module; Traefik ForwardAuth; Caddy forward_auth; Envoy ext_authz (HTTP service).
"""

import re
from dataclasses import dataclass
from typing import Literal

from oidcgate.errors import RequestError
from oidcgate.inbound import FOLD, RawHeaders

Source = Literal["url", "forwarded", "path"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    How one kind of peer asks, and what it can do with an answer.

    Attributes:
        name: as in the path; empty for oauth2-proxy's.
        source: where the original request is: in X-Original-URL and -Method, in X-Forwarded-*, or in the question's own
            line behind the prefix.
        allow: the status that it takes for a yes.
        passes_answer: whether the client gets a refusing answer as it is, with its redirect and body.
    """

    name: str
    source: Source
    allow: int = 200
    passes_answer: bool = False


DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect("", "url", allow=202),
        Dialect("nginx", "url"),
        Dialect("haproxy", "url"),
        Dialect("traefik", "forwarded", passes_answer=True),
        Dialect("caddy", "forwarded", passes_answer=True),
        Dialect("envoy", "path", passes_answer=True),
    )
}

URL = re.compile(rb"(?:https?|wss?)://([^/?#@\\]+)(/[^#\\]*)?")
HOST = re.compile(
    rb"([A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:.]{2,45}\])\.?(:[0-9]{1,5})?"
)
# What belongs to the question, not to the client's request.
OF_THE_PEER = re.compile(
    rb"x-original-(?:url|uri|method)|x-forwarded-(?:method|proto|host|port|uri|server|for|prefix)|forwarded|x-real-ip"
    rb"|x-request-id|x-sent-from|x-auth-request-redirect|x-scheme|x-envoy-.*"
    rb"|host|connection|upgrade|keep-alive|te|expect|content-length|transfer-encoding"
)
UPGRADE = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))


@dataclass(frozen=True, slots=True)
class Original:
    """The request that a peer asks about; ``headers`` is the client's block with the original Host before it."""

    method: str
    target: str
    headers: RawHeaders


def dialect_of(path: str, prefix: str) -> tuple[Dialect, str] | None:
    """
    The dialect of a question's path, and where the original path begins in it; None when it is no question.

    Args:
        path: of the question, without its query.
        prefix: the gate's own paths.
    """
    rest = path.removeprefix(f"{prefix}/auth")
    if rest == path or (rest and not rest.startswith("/")):
        return None
    name, slash, _ = rest.removeprefix("/").partition("/")
    dialect = DIALECTS.get(name)
    if dialect is None or (rest and not name) or (slash and dialect.source != "path"):
        return None
    return dialect, f"{prefix}/auth/{name}"


def read_original(dialect: Dialect, raw: RawHeaders, *, method: str, target: str, begin: str) -> Original:
    """
    What a trusted peer asks about.

    Args:
        method, target: of the question.
        begin: of the question's path, before the original one.

    Raises:
        RequestError: a word is missing, there twice, or malformed.
    """
    match dialect.source:
        case "url":
            found = URL.fullmatch(_once(raw, b"x-original-url"))
            if found is None:
                raise RequestError("X-Original-URL is not a URL.")
            host, original = found[1], found[2] or b"/"
            method = _once(raw, b"x-original-method").decode("ascii", "replace")
        case "forwarded":
            host, original = _once(raw, b"x-forwarded-host"), _once(raw, b"x-forwarded-uri")
            method = _once(raw, b"x-forwarded-method").decode("ascii", "replace")
        case "path":
            host, original = _once(raw, b"host"), target[len(begin) :].encode("ascii", "replace") or b"/"
    return Original(method, original.decode("ascii", "replace"), _client_block(raw, normal_host(host)))


def normal_host(host: bytes) -> bytes:
    """
    A host in lower case, without the dot that may end it.

    Raises:
        RequestError: it is no host name.
    """
    match = HOST.fullmatch(host)
    if match is None:
        raise RequestError("The original host is not a host name.")
    return (match[1] + (match[2] or b"")).lower()


def _once(raw: RawHeaders, name: bytes) -> bytes:
    """A peer's word. Another spelling of its name beside it could be the client's, so that is refused."""
    values = [value for key, value in raw if FOLD.sub(b"-", key.lower()) == name]
    exact = [value for key, value in raw if key.lower() == name]
    if len(values) != 1 or len(exact) != 1:
        shown = name.decode()
        raise RequestError(f"The proxy that asks must send the header {shown} exactly once.")
    return exact[0]


def _client_block(raw: RawHeaders, host: bytes) -> RawHeaders:
    """The client's own headers; a websocket's handshake is known by its key, since peers drop its Upgrade."""
    kept = tuple((name, value) for name, value in raw if not OF_THE_PEER.fullmatch(name.lower()))
    is_handshake = any(name.lower() == b"sec-websocket-key" for name, _ in kept)
    return ((b"Host", host), *(UPGRADE if is_handshake else ()), *kept)
