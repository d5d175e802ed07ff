"""
What a proxy asks when it carries a request itself: whose words those are, and what they say.

Pure. Rules of this file:
- The original method, host and target are taken only from what that very peer overwrites, and each exactly once; a
  word that is missing, there twice or malformed is refused, never guessed.
- What is left of the headers is the client's own block, as it would have come to us: it is judged by the same code.
- A query in the question itself grants nothing: Caddy appends the client's.

Sources: nginx ngx_http_auth_request_module; Traefik ForwardAuth; Caddy forward_auth; Envoy ext_authz (HTTP service).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import parse_qsl

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
        strips_prefixes: whether the peer can drop the client's headers by how their names begin.
    """

    name: str
    source: Source
    allow: int = 200
    passes_answer: bool = False
    strips_prefixes: bool = True


DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect("", "url", allow=202, strips_prefixes=False),
        Dialect("nginx", "url", strips_prefixes=False),
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
RESTRICTIONS = ("allowed_groups", "allowed_emails", "allowed_email_domains")  # oauth2-proxy's, each of them to be met
KEY = b"sec-websocket-key"
WORDS = frozenset(
    {
        b"host",
        b"x-original-url",
        b"x-original-method",
        b"x-forwarded-method",
        b"x-forwarded-host",
        b"x-forwarded-uri",
    }
)
# Where a proxy routes by the cleaned path and forwards the raw one, a client could ask in that proxy's name.
CLIMBS = re.compile(rb"(?:/|\\|%2f|%5c)(?:\.|%2e){2}(?:[/\\;]|%2f|%5c|%3b|$)", re.IGNORECASE)
IMPERSONATES = re.compile(rb"(?:impersonate|x[_.-]+remote)[_.-]", re.IGNORECASE)
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
    words, client = sorted_out(raw)
    match dialect.source:
        case "url":
            found = URL.fullmatch(_word(words, b"x-original-url"))
            if found is None:
                raise RequestError("X-Original-URL is not a URL.")
            host, original = found[1], found[2] or b"/"
            _check_host(host, target)
            method = _word(words, b"x-original-method").decode("ascii", "replace")
        case "forwarded":
            host, original = _word(words, b"x-forwarded-host"), _word(words, b"x-forwarded-uri")
            method = _word(words, b"x-forwarded-method").decode("ascii", "replace")
        case "path":
            host, original = _word(words, b"host"), _ascii(target[len(begin) :]) or b"/"
            if CLIMBS.search(original.partition(b"?")[0]):
                raise RequestError("The original path climbs out of the question.")
    if not dialect.strips_prefixes and any(IMPERSONATES.match(name) for name, _ in client):
        raise RequestError("This request carries headers that claim to be somebody.")
    return Original(method, original.decode("ascii", "replace"), ((b"Host", normal_host(host)), *client))


def bare_host(host: bytes) -> bytes:
    """A host in lower case, without port and dot."""
    return re.sub(rb":[0-9]+$", b"", normal_host(host))


def _check_host(host: bytes, question: str) -> None:
    """
    A question of nginx may name the host of the server that asks: its own variable holds what the client wrote in Host,
    also where the request line named another (RFC 9112 §3.2.2).

    Raises:
        RequestError: they differ.
    """
    query = parse_qsl(question.partition("?")[2], keep_blank_values=True)
    named = [value for name, value in query if name == "host"]
    ours = bare_host(host)
    if any(bare_host(value.encode("ascii", "replace")) != ours for value in named):
        raise RequestError("The original host is not the one of the server that asks.")


def restrictions(dialect: Dialect, target: str) -> dict[str, tuple[str, ...]]:
    """
    Further conditions in the query of oauth2-proxy's endpoint: ``allowed_groups`` and the like, by name.

    They can only take away, so it does not matter who wrote them; every other dialect's query is not even read.
    """
    if dialect.name:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for name, value in parse_qsl(target.partition("?")[2], keep_blank_values=True):
        if name in RESTRICTIONS:
            found[name] = (*found.get(name, ()), *(part.strip() for part in value.split(",")))
    return found


def _ascii(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        raise RequestError("The original path is not ASCII.") from None


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


def sorted_out(raw: RawHeaders) -> tuple[dict[bytes, bytes | None], RawHeaders]:
    """
    The peer's words by name (None for one that is there twice, or in another spelling, which may be the client's), and
    the client's own headers; a websocket's handshake is known by its key, since peers drop its Upgrade.
    """
    words: dict[bytes, bytes | None] = {}
    client: list[tuple[bytes, bytes]] = []
    for pair in raw:
        word = word_of(pair[0])
        if word is None:
            client.append(pair)
        elif word is KEY:
            client += [*UPGRADE, pair]
        elif word:
            words[word] = None if word in words or pair[0].lower() != word else pair[1]
    return words, tuple(client)


@lru_cache(maxsize=2048)
def word_of(name: bytes) -> bytes | None:
    """Which word of a peer a header is, in any spelling; empty for what is dropped, None for the client's own."""
    lower = name.lower()
    if lower == KEY:
        return KEY
    folded = FOLD.sub(b"-", lower)
    if folded in WORDS:
        return folded
    return b"" if OF_THE_PEER.fullmatch(folded) else None


def _word(words: dict[bytes, bytes | None], name: bytes) -> bytes:
    value = words.get(name)
    if value is None:
        raise RequestError(f"The proxy that asks must send the header {name.decode()} exactly once.")
    return value
