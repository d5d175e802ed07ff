"""
Places that a login might be talked into leading back to: every known trick, made in code and combined.

A trick is a piece of one of the kinds below. What matters is that servers, gates and browsers have read such strings
differently: schemes, slashes, controls that browsers drop, userinfo, escapes, dots and slashes of Unicode, spellings
of IP addresses and dot segments.
"""

from collections.abc import Iterator
from urllib.parse import quote, unquote

OURS = "https://dash.example.com"
EVIL = "evil.example"

SCHEMES = (
    "http:",
    "https:",
    "HtTpS:",
    "ftp:",
    "javascript:",
    "JaVaScRiPt:",
    "data:text/html,",
    "vbscript:",
    "file:",
    "blob:",
    "ws:",
    "about:blank",
    "mailto:",
    "view-source:",
    "x:",
    "\x00https:",
    " https:",
    "ht\ntps:",
    "https%3a",
)
# What may stand for "//" in front of a host.
SLASHES = (
    "/",
    "//",
    "///",
    "////",
    "\\",
    "\\\\",
    "/\\",
    "\\/",
    "/\\/",
    "\\/\\/",
    "//\\",
    "/./",
    "/.//",
    "/..//",
    "/../",
    "/%2e//",
    "/%2e%2e//",
    "/.%2e//",
    "/%2E.//",
    "/%2f",
    "/%5c",
    "%2f%2f",
    "%5c%5c",
    "/%252f",
    "/%255c",
    "/;//",
    "/?//",
    "/#//",
    "/:/",
    "/@/",
    "\u2215\u2215",
    "/\u2044",
    "\uff0f\uff0f",
    "/\uff3c",
    "\u3033\u3033",
)
# Browsers drop tab, line feed and carriage return anywhere, and controls and spaces at both ends.
CONTROLS = (
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\x00",
    "\x01",
    "\x08",
    "\x0b",
    "\x0c",
    "\x1f",
    " ",
    "\x7f",
    "\x85",
    "\xa0",
    "\u00ad",
    "\u200b",
    "\u2028",
    "\u3000",
    "\ufeff",
    "%09",
    "%0a",
    "%0d",
    "%0d%0a",
    "%00",
    "%20",
    "%c2%a0",
    "%e3%80%82",
)
HOSTS = (
    EVIL,
    "EVIL.example",
    "evil\u3002example",
    "evil\uff0eexample",
    "evil%2eexample",
    "evil%E3%80%82example",
    "\u24d4vil.example",
    "xn--evil.example",
    "evil.example.",
    "evil.example:443",
    "evil.example:80\\",
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "00.00.00.00",
    "0",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "169.254.169.254",
    "0xA9FEA9FE",
    "dash.example.com.evil.example",
    "dash.example.comevil.example",
    "dash.example.com@evil.example",
    "dash.example.com:80@evil.example",
    "dash.example.com%40evil.example",
    "dash.example.com\\@evil.example",
    "dash.example.com#@evil.example",
    "dash.example.com?@evil.example",
    "dash.example.com;@evil.example",
    "dash.example.com%00.evil.example",
    "dash.example.com/..//evil.example",
    "dash.example.com:443:80",
    "user:password@evil.example",
    "@evil.example",
    ":@evil.example",
    "evil.example\\dash.example.com",
    "evil.example%5cdash.example.com",
    "evil.example/dash.example.com",
    "evil.example?dash.example.com",
)
DOTS = (
    "/.",
    "/..",
    "/./",
    "/../",
    "/%2e",
    "/%2E%2e",
    "/.%2e/",
    "/%2e./",
    "/%252e%252e/",
    "/..;/",
    "/..%00/",
    "/..%2f",
    "/..%5c",
    "/..\\",
    "/\u2025/",
    "/\uff0e\uff0e/",
    "/%c0%ae%c0%ae/",
    "/a/..//",
    "/a/../..//",
    "/a/b/..//..//",
    "/a/%2e%2e//",
    "/a/..\\\\",
    "/a/..;//",
)
PREFIXES = ("/", "/a", "/a/", "/a/..", "/..", "?", "#", ".", "%2f", OURS, OURS + "/", OURS + "/..")
GOOD = (
    "/",
    "/api/v1/pod/%20?itemsPerPage=10&sortBy=d,creationTimestamp",
    "/?next=//evil.example",
    "/?next=https://evil.example/",
    "/clusterrole/system:node",
    "/a//b",
    "/a?..",
    "/...",
    "/.well-known/x",
    "/@user",
    "/a;b=c",
    "/%E2%82%AC",
    "/a%2fb",
)


def pieces() -> Iterator[str]:
    """Tricks in their usual places."""
    yield from GOOD
    yield from HOSTS
    for host in HOSTS:
        for slashes in SLASHES:
            yield slashes + host
    for scheme in SCHEMES:
        yield scheme + "alert(1)"
        for slashes in SLASHES:
            yield scheme + slashes + EVIL
    for control in CONTROLS:
        yield from (
            control + "//" + EVIL,
            "/" + control + "/" + EVIL,
            "//" + control + EVIL,
            "/" + control + "\\" + EVIL,
            "\\" + control + "/" + EVIL,
            "https:" + control + "//" + EVIL,
            "java" + control + "script:alert(1)",
            "/." + control + "./" + "/" + EVIL,
            "/a" + control + "//" + EVIL,
            "/" + EVIL + control,
            OURS + control + "." + EVIL,
            OURS + control + "@" + EVIL,
        )
    for dots in DOTS:
        for slashes in ("", "/", "//", "\\", "%2f"):
            yield dots + slashes + EVIL
    yield "/" + "a" * 2047
    yield "/" + "a" * 2048


def redirects() -> tuple[str, ...]:
    """Each piece as it is, decoded once and twice, encoded, and behind each prefix; no string twice."""
    found: dict[str, None] = {}
    for piece in pieces():
        once = unquote(piece)
        for text in (piece, once, unquote(once), quote(piece, safe="/"), quote(piece, safe="")):
            found[text] = None
        for prefix in PREFIXES:
            found[prefix + piece] = None
    return tuple(found)
