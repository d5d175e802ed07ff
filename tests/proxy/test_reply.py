"""Reply heads: a strict parser's view of them, and what becomes of them for the browser (RFC 9112 §4 to §6)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oidcgate.proxy.reply import MOST_HEADS, MOST_MEMORY, BadReply, Framing, Reply, ReplyRewriter

ORIGIN = "https://dash.example.com"
UPSTREAM = "http://upstream"
OURS = b"__Host-oidcgate"
DATE = b"Date: Tue, 15 Nov 1994 08:12:31 GMT"
ADDED = b"X-Frame-Options: SAMEORIGIN\r\nX-Content-Type-Options: nosniff\r\nCache-Control: private\r\n"
# Silences all that is added, so that a test shows its own line alone.
QUIET = (b"X-Frame-Options: DENY", b"X-Content-Type-Options: nosniff", b"Cache-Control: no-store")


def rewriter(origin: str = ORIGIN, upstreams: tuple[str, ...] = (UPSTREAM, "http://upstream:80")) -> ReplyRewriter:
    """A rewriter that remembers nothing yet."""
    return ReplyRewriter(origin=origin, upstream_origins=upstreams, own=OURS)


def head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A head as the upstream sends it, less its end."""
    return b"\r\n".join((status, *lines))


def read(
    *lines: bytes,
    status: bytes = b"HTTP/1.1 200 OK",
    method: str = "GET",
    client_http11: bool = True,
    keep_alive: bool = True,
) -> Reply:
    """One head, judged twice: the second time by memory."""
    once = rewriter()
    raw = head(*lines, status=status)
    first = once.read(raw, method=method, client_http11=client_http11, keep_alive=keep_alive)
    assert once.read(raw, method=method, client_http11=client_http11, keep_alive=keep_alive) == first
    return first


def fields(reply: Reply) -> list[bytes]:
    """The header lines of a rewritten head."""
    assert reply.head.endswith(b"\r\n\r\n")
    return reply.head[:-4].split(b"\r\n")[1:]


def kept(*lines: bytes) -> list[bytes]:
    """Which of the lines go on, in a reply that needs nothing added."""
    quiet = fields(read(b"Content-Length: 0", *QUIET))
    return [line for line in fields(read(b"Content-Length: 0", *QUIET, *lines)) if line not in quiet]


# The status line.


@pytest.mark.parametrize(
    ("line", "status", "expected"),
    [
        pytest.param(b"HTTP/1.1 200 OK", 200, b"HTTP/1.1 200 OK", id="usual"),
        pytest.param(b"HTTP/1.0 404 Not Found", 404, b"HTTP/1.1 404 Not Found", id="http-1.0"),
        pytest.param(b"HTTP/1.1 200 ", 200, b"HTTP/1.1 200 ", id="empty-reason"),
        pytest.param(b"HTTP/1.1 200", 200, b"HTTP/1.1 200 ", id="no-reason"),
        pytest.param(b"HTTP/1.1 503 \xe4h", 503, b"HTTP/1.1 503 \xe4h", id="reason-is-opaque"),
        pytest.param(b"HTTP/1.1 103 Early Hints", 103, b"HTTP/1.1 103 Early Hints", id="interim"),
        pytest.param(b"HTTP/1.1 599 x", 599, b"HTTP/1.1 599 x", id="highest"),
        pytest.param(b"HTTP/1.1 200 " + b"x" * 600, 200, b"HTTP/1.1 200 " + b"x" * 600, id="too-long-to-be-remembered"),
    ],
)
def test_status_lines(line: bytes, status: int, expected: bytes) -> None:
    """The status and reason go on in our version."""
    reply = read(b"Content-Length: 0", status=line)
    assert reply.status == status
    assert reply.head.startswith(expected + b"\r\n")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"HTTP/1.1 099 x", id="below-100"),
        pytest.param(b"HTTP/1.1 000 x", id="zero"),
        pytest.param(b"HTTP/1.1 600 x", id="above-599"),
        pytest.param(b"HTTP/1.1 999 x", id="999"),
        pytest.param(b"HTTP/1.1 20 x", id="two-digits"),
        pytest.param(b"HTTP/1.1 2000 x", id="four-digits"),
        pytest.param(b"HTTP/1.1 +200 x", id="plus"),
        pytest.param("HTTP/1.1 \u0662\u0660\u0660 x".encode(), id="unicode-digits"),
        pytest.param(b"HTTP/2.0 200 OK", id="http-2"),
        pytest.param(b"HTTP/0.9 200 OK", id="http-0.9"),
        pytest.param(b"HTTP/1.2 200 OK", id="http-1.2"),
        pytest.param(b"http/1.1 200 OK", id="lower-case"),
        pytest.param(b"ICY 200 OK", id="icy"),
        pytest.param(b" HTTP/1.1 200 OK", id="leading-space"),
        pytest.param(b"HTTP/1.1  200 OK", id="two-spaces"),
        pytest.param(b"HTTP/1.1\t200 OK", id="tab"),
        pytest.param(b"HTTP/1.1 200OK", id="no-space"),
        pytest.param(b"HTTP/1.1 200 a\nX: y", id="bare-lf"),
        pytest.param(b"HTTP/1.1 200 a\rX: y", id="bare-cr"),
        pytest.param(b"HTTP/1.1 200 a\x00", id="nul"),
        pytest.param(b"HTTP/1.1 200 a\x7f", id="delete"),
        pytest.param(b"<html>", id="no-http"),
    ],
)
def test_bad_status_lines(line: bytes) -> None:
    """Anything else is not a reply."""
    with pytest.raises(BadReply):
        read(b"Content-Length: 0", status=line)


# Header lines.


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="empty-line"),
        pytest.param(b"no colon", id="no-colon"),
        pytest.param(b": x", id="no-name"),
        pytest.param(b"X : y", id="space-before-the-colon"),
        pytest.param(b"X\t: y", id="tab-before-the-colon"),
        pytest.param(b" X: y", id="obs-fold-with-space"),
        pytest.param(b"\tX: y", id="obs-fold-with-tab"),
        pytest.param(b"X: a\n Y: b", id="bare-lf-and-fold"),
        pytest.param(b"X: a\nSet-Cookie: __Host-oidcgate=x", id="bare-lf"),
        pytest.param(b"X: a\n", id="trailing-lf"),
        pytest.param(b"X: a\rY: b", id="bare-cr"),
        pytest.param(b"X: a\r", id="trailing-cr"),
        pytest.param(b"X: a\x00b", id="nul"),
        pytest.param(b"X: a\x1bb", id="escape"),
        pytest.param(b"X: a\x0bb", id="vertical-tab"),
        pytest.param(b"X: a\x7fb", id="delete"),
        pytest.param(b"X(y): z", id="parenthesis"),
        pytest.param(b"X\xc3\xa4: z", id="name-beyond-ascii"),
        pytest.param(b'"X": z', id="quoted-name"),
        pytest.param(b"X\x00: z", id="nul-in-the-name"),
        pytest.param(b"X:" + b" " * 60000 + b"\x00", id="long-space-is-judged-in-no-time"),
        pytest.param(b"X: a" + b" " * 60000 + b"\x00", id="long-space-behind-a-value"),
    ],
)
def test_malformed_lines(line: bytes) -> None:
    """A line that a strict parser refuses makes a 502 of the reply."""
    with pytest.raises(BadReply):
        read(b"Content-Length: 0", line)
    with pytest.raises(BadReply):
        read(line, b"Content-Length: 0")


@pytest.mark.parametrize(
    "line",
    [
        b"X: y",
        b"x:y",
        b"X:",
        b"X: \t y \t",
        b"X: \xff\xfe",
        b"!#$%&'*+-.^_`|~09: x",
        b'ETag: W/"1"',
        b"Content-Encoding: gzip",
        b"WWW-Authenticate: Basic",
        b"Strict-Transport-Security: max-age=1",
        b"X-Long: " + b"a" * 5000,
    ],
)
def test_lines_as_they_came(line: bytes) -> None:
    """End-to-end headers go on byte for byte."""
    assert kept(line) == [line]


@pytest.mark.parametrize(
    "name",
    [
        b"Keep-Alive",
        b"Proxy-Connection",
        b"Proxy-Authenticate",
        b"Proxy-Authentication-Info",
        b"TE",
        b"Trailer",
        b"Upgrade",
        b"HTTP2-Settings",
        b"Server",
        b"X-Powered-By",
        b"Clear-Site-Data",
        b"Alt-Svc",
        b"Connection",
    ],
)
def test_dropped_lines(name: bytes) -> None:
    """Hop-by-hop headers, and those that only the gate may send, end here, in any case."""
    assert kept(name + b": x", name.upper() + b": x", name.lower() + b":") == []


def test_too_many_lines() -> None:
    """Two hundred lines are enough for anybody."""
    with pytest.raises(BadReply):
        read(*(b"X-%d: y" % i for i in range(200)))


# Framing.


@pytest.mark.parametrize(
    ("lines", "status", "method", "framing", "length", "reusable", "written"),
    [
        pytest.param([b"Content-Length: 05"], 200, "GET", Framing.LENGTH, 5, True, b"Content-Length: 5", id="length"),
        pytest.param([b"Content-Length: 0"], 200, "GET", Framing.LENGTH, 0, True, b"Content-Length: 0", id="empty"),
        pytest.param(
            [b"Transfer-Encoding: Chunked"],
            200,
            "GET",
            Framing.CHUNKED,
            0,
            True,
            b"Transfer-Encoding: chunked",
            id="te",
        ),
        pytest.param([], 200, "GET", Framing.CLOSE, 0, False, b"Transfer-Encoding: chunked", id="close-delimited"),
        pytest.param([], 200, "HEAD", Framing.NONE, 0, True, None, id="head"),
        pytest.param(
            [b"Content-Length: 9"], 200, "HEAD", Framing.NONE, 9, True, b"Content-Length: 9", id="head-with-a-length"
        ),
        pytest.param([b"Transfer-Encoding: chunked"], 200, "HEAD", Framing.NONE, 0, True, None, id="head-chunked"),
        pytest.param([], 204, "GET", Framing.NONE, 0, True, None, id="204"),
        pytest.param([b"Content-Length: 5"], 204, "GET", Framing.NONE, 5, True, None, id="204-with-a-length"),
        pytest.param([b"Transfer-Encoding: chunked"], 204, "GET", Framing.NONE, 0, True, None, id="204-chunked"),
        pytest.param([], 304, "GET", Framing.NONE, 0, True, None, id="304"),
        pytest.param(
            [b"Content-Length: 7"], 304, "GET", Framing.NONE, 7, True, b"Content-Length: 7", id="304-with-a-length"
        ),
        pytest.param([], 103, "GET", Framing.NONE, 0, True, None, id="interim"),
        pytest.param([b"Content-Length: 5"], 404, "POST", Framing.LENGTH, 5, True, b"Content-Length: 5", id="error"),
        pytest.param(
            [b"Content-Length: 5", b"Connection: close"],
            200,
            "GET",
            Framing.LENGTH,
            5,
            False,
            b"Content-Length: 5",
            id="upstream-closes",
        ),
        pytest.param(
            [b"Content-Length: 5", b"Connection: keep-alive, CLOSE"],
            200,
            "GET",
            Framing.LENGTH,
            5,
            False,
            b"Content-Length: 5",
            id="close-wins",
        ),
    ],
)
def test_framing(
    lines: list[bytes],
    status: int,
    method: str,
    framing: Framing,
    length: int,
    reusable: bool,
    written: bytes | None,
) -> None:
    """How the body ends, whether the connection may be used again, and our own words for it."""
    reply = read(*lines, status=b"HTTP/1.1 %d x" % status, method=method)
    assert (reply.framing, reply.length, reply.reusable) == (framing, length, reusable)
    own = [line for line in fields(reply) if line.startswith((b"Content-Length", b"Transfer-Encoding"))]
    assert own == ([written] if written else [])


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"Content-Length: 5", b"Content-Length: 5"], id="same-length-twice"),
        pytest.param([b"Content-Length: 5", b"content-length: 6"], id="two-lengths"),
        pytest.param([b"Content-Length: 5, 5"], id="list-of-lengths"),
        pytest.param([b"Content-Length: +5"], id="plus"),
        pytest.param([b"Content-Length: -1"], id="minus"),
        pytest.param([b"Content-Length: 0x5"], id="hexadecimal"),
        pytest.param([b"Content-Length: 5 5"], id="inner-space"),
        pytest.param([b"Content-Length:"], id="empty-length"),
        pytest.param([b"Content-Length: 5\xb2"], id="superscript"),
        pytest.param([b"Content-Length: 1000000000000000000"], id="huge"),
        pytest.param([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], id="chunked-twice"),
        pytest.param([b"Transfer-Encoding: chunked", b"TRANSFER-ENCODING: chunked"], id="chunked-twice-in-two-cases"),
        pytest.param([b"Transfer-Encoding: gzip"], id="gzip"),
        pytest.param([b"Transfer-Encoding: gzip, chunked"], id="gzip-chunked"),
        pytest.param([b"Transfer-Encoding: chunked, chunked"], id="chunked-chunked"),
        pytest.param([b"Transfer-Encoding: identity"], id="identity"),
        pytest.param([b"Transfer-Encoding: xchunked"], id="xchunked"),
        pytest.param([b"Transfer-Encoding:"], id="empty-coding"),
        pytest.param([b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"], id="two-codings"),
        pytest.param([b"Content-Length: 5", b"Transfer-Encoding: chunked"], id="length-and-chunked"),
        pytest.param([b"Transfer-Encoding: chunked", b"Content-Length: 0"], id="chunked-and-zero"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [b"200", b"204", b"304"])
def test_bad_framing(lines: list[bytes], method: str, status: bytes) -> None:
    """Framing that two parsers could read differently makes a 502, with or without a body."""
    with pytest.raises(BadReply):
        read(*lines, method=method, status=b"HTTP/1.1 " + status + b" x")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_chunked_on_http_1_0(method: str) -> None:
    """HTTP/1.0 knows no chunked."""
    with pytest.raises(BadReply):
        read(b"Transfer-Encoding: chunked", status=b"HTTP/1.0 200 OK", method=method)


@pytest.mark.parametrize(
    ("lines", "reusable"),
    [
        pytest.param([b"Content-Length: 5"], False, id="default"),
        pytest.param([b"Content-Length: 5", b"Connection: Keep-Alive"], True, id="keep-alive"),
        pytest.param([b"Content-Length: 5", b"Connection: keep-alive, close"], False, id="close-wins"),
        pytest.param([b"Connection: keep-alive"], False, id="without-a-length"),
    ],
)
def test_reuse_of_http_1_0(lines: list[bytes], reusable: bool) -> None:
    """An HTTP/1.0 upstream is used again only if it says so and its body has an end."""
    assert read(*lines, status=b"HTTP/1.0 200 OK").reusable is reusable


@pytest.mark.parametrize(
    ("lines", "client_http11", "keep_alive", "expected"),
    [
        pytest.param([b"Content-Length: 5"], True, True, [b"Content-Length: 5"], id="usual"),
        pytest.param([b"Content-Length: 5"], True, False, [b"Content-Length: 5", b"Connection: close"], id="closing"),
        pytest.param(
            [b"Content-Length: 5"],
            False,
            True,
            [b"Content-Length: 5", b"Connection: keep-alive"],
            id="old-browser-stays",
        ),
        pytest.param(
            [b"Content-Length: 5"], False, False, [b"Content-Length: 5", b"Connection: close"], id="old-browser-goes"
        ),
        pytest.param([b"Transfer-Encoding: chunked"], False, True, [b"Connection: close"], id="old-browser-unchunked"),
        pytest.param([], False, True, [b"Connection: close"], id="old-browser-until-the-end"),
    ],
)
def test_browser_s_connection(lines: list[bytes], client_http11: bool, keep_alive: bool, expected: list[bytes]) -> None:
    """Connection is our own; a browser that knows no chunked gets the body until the end."""
    reply = read(*QUIET, *lines, client_http11=client_http11, keep_alive=keep_alive)
    assert [line for line in fields(reply) if line not in QUIET] == expected


# Nominated headers.


def test_nominated_headers_are_dropped() -> None:
    """What Connection names goes no further, wherever Connection stands and however many there are."""
    assert kept(b"X-A: 1", b"Connection: X-a, close", b"X-B: 2", b"connection: x-b", b"X-C: 3") == [b"X-C: 3"]


@pytest.mark.parametrize(
    ("line", "added"),
    [
        pytest.param(b"X-Frame-Options: DENY", b"X-Frame-Options: SAMEORIGIN", id="framing"),
        pytest.param(b"X-Content-Type-Options: nosniff", b"X-Content-Type-Options: nosniff", id="sniffing"),
        pytest.param(b"Cache-Control: no-store", b"Cache-Control: private", id="caching"),
        pytest.param(
            b"Content-Security-Policy: frame-ancestors 'none'", b"X-Frame-Options: SAMEORIGIN", id="frame-ancestors"
        ),
    ],
)
def test_a_nominated_protection_is_replaced(line: bytes, added: bytes) -> None:
    """A protection that is dropped because Connection names it counts as absent."""
    name = line.partition(b":")[0]
    reply = read(b"Content-Length: 0", line, b"Connection: " + name)
    assert [text for text in fields(reply) if text in (line, added)] == [added]


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        pytest.param([b"Content-Length: 5", b"Connection: content-length"], Framing.LENGTH, id="length"),
        pytest.param([b"Connection: transfer-encoding", b"Transfer-Encoding: chunked"], Framing.CHUNKED, id="chunked"),
    ],
)
def test_nominated_framing_counts(lines: list[bytes], framing: Framing) -> None:
    """Naming a framing header does not change where the body ends."""
    assert read(*lines).framing is framing


def test_nominations_keep_what_connection_says() -> None:
    """``close`` beside a nomination still closes, and a secret beside it is still no part of the memory."""
    reply = read(b"Content-Length: 5", b"Connection: close, x-a", b"Set-Cookie: a=b")
    assert not reply.reusable
    assert not reply.repeats


def test_upgrade_offers_are_no_nomination() -> None:
    """A server that offers another protocol in passing changes nothing else."""
    assert kept(b"Connection: Upgrade", b"Upgrade: h2,h2c", b"X-A: 1") == [b"X-A: 1"]


# Cookies.


@pytest.mark.parametrize(
    "value",
    [
        b"a=b",
        b"a=b; Path=/; HttpOnly",
        b"a=b; Domain=dash.example.com",
        b"a=b; domain = .DASH.example.com ",
        b"oidcgate=x",
        b"x__Host-oidcgate=x",
        b"a=__Host-oidcgate=x",
        b"=a",
    ],
)
def test_cookies_of_the_upstream(value: bytes) -> None:
    """The upstream sets its own cookies for its own host."""
    assert kept(b"Set-Cookie: " + value) == [b"Set-Cookie: " + value]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"__Host-oidcgate=x", id="ours"),
        pytest.param(b"__Host-oidcgate-login-abc=x", id="our-prefix"),
        pytest.param(b"__host-OIDCGATE=x", id="case"),
        pytest.param(b" \t__Host-oidcgate =x", id="space"),
        pytest.param("\u2000__Host-oidcgate=x".encode(), id="unicode-space"),
        pytest.param("\u00a0__Host-oidcgate=x".encode(), id="no-break-space"),
        pytest.param("__Ho\u017ft-oidcgate=x".encode(), id="long-s"),
        pytest.param(b'"__Host-oidcgate"=x', id="quoted"),
        pytest.param(b"__Host-oidcgate", id="no-equals-sign"),
        pytest.param(b"=__Host-oidcgate=x", id="nameless-with-ours-as-its-value"),
        pytest.param(b" = __Host-oidcgate=x", id="nameless-with-space"),
        pytest.param(b"==__Host-oidcgate=x", id="two-equals-signs"),
        pytest.param(b"a=b; Domain=example.com", id="parent-domain"),
        pytest.param(b"a=b; Path=/; DOMAIN=.example.com", id="parent-domain-with-a-dot"),
        pytest.param(b"a=b; Domain=com", id="top-level"),
        pytest.param(b"a=b; Domain=evil.example", id="another-domain"),
        pytest.param(b"a=b; Domain=dash.example.com; Domain=example.com", id="two-domains"),
        pytest.param(b"a=b; Domain=example.com; Domain=dash.example.com", id="two-domains-the-other-way"),
        pytest.param(b"a=b; Domain", id="empty-domain"),
        pytest.param(b"a=b; Domain=evildash.example.com", id="no-dot-boundary"),
    ],
)
def test_cookies_that_only_we_may_set(value: bytes) -> None:
    """Ours in any spelling, and any for more hosts than this one, are dropped."""
    assert kept(b"Set-Cookie: " + value) == []
    assert kept(b"SET-COOKIE: " + value, b"Set-Cookie: good=1") == [b"Set-Cookie: good=1"]


def test_cookie_domain_with_a_port_in_the_origin() -> None:
    """The port is no part of a cookie's domain."""
    reply = rewriter("https://dash.example.com:8443").read(
        head(b"Set-Cookie: a=b; Domain=dash.example.com"), method="GET"
    )
    assert b"Set-Cookie: a=b" in reply.head


# Location.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"http://upstream/x?y#z", b"https://dash.example.com/x?y#z", id="path"),
        pytest.param(b"http://upstream", b"https://dash.example.com", id="bare"),
        pytest.param(b"http://upstream?x", b"https://dash.example.com?x", id="query"),
        pytest.param(b"http://upstream#x", b"https://dash.example.com#x", id="fragment"),
        pytest.param(b"http://upstream:80/x", b"https://dash.example.com/x", id="default-port"),
        pytest.param(b"http://upstream//evil.example", b"https://dash.example.com//evil.example", id="stays-a-path"),
    ],
)
@pytest.mark.parametrize("name", [b"Location", b"content-location"])
def test_locations_of_the_upstream(name: bytes, value: bytes, expected: bytes) -> None:
    """A Location that names the upstream's own origin names ours instead."""
    assert kept(name + b": " + value) == [name + b": " + expected]


@pytest.mark.parametrize(
    "value",
    [
        b"/x",
        b"x/y",
        b"./",
        b"?x",
        b"",
        b"//upstream/x",
        b"https://upstream/x",
        b"http://upstream.evil.com/x",
        b"http://upstream:8080/x",
        b"http://upstreamx/",
        b"http://upstream@evil.com/",
        b"http://upstream:80@evil.com/",
        b"http://upstream\\@evil.com/",
        b"http://upstream%2f@evil.com/",
        b"https://evil.example/?http://upstream/",
        b"HTTP://UPSTREAM/x",
        b"https://dash.example.com/x",
    ],
)
def test_other_locations(value: bytes) -> None:
    """Any other Location passes as it is: whoever it names, it does not become us."""
    assert kept(b"Location: " + value) == [b"Location: " + value]


# CORS.


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        pytest.param(b"https://dash.example.com", True, id="ours"),
        pytest.param(b"*", False, id="anybody"),
        pytest.param(b"null", False, id="null"),
        pytest.param(b"https://evil.example", False, id="foreign"),
        pytest.param(b"https://dash.example.com.evil.example", False, id="longer"),
        pytest.param(b"http://dash.example.com", False, id="another-scheme"),
        pytest.param(b"https://dash.example.com, https://evil.example", False, id="list"),
        pytest.param(b"", False, id="empty"),
    ],
)
def test_cors(value: bytes, passes: bool) -> None:
    """No other origin than ours may read replies."""
    line = b"Access-Control-Allow-Origin: " + value
    assert kept(line) == ([line] if passes else [])
    assert kept(b"ACCESS-CONTROL-ALLOW-ORIGIN: " + value, b"Access-Control-Allow-Credentials: true")[-1:] == [
        b"Access-Control-Allow-Credentials: true"
    ]


# What is added.


@pytest.mark.parametrize(
    ("lines", "added"),
    [
        pytest.param([], [b"xfo", b"nosniff", b"private"], id="all"),
        pytest.param([b"X-Frame-Options: DENY"], [b"nosniff", b"private"], id="frame-options"),
        pytest.param([b"CONTENT-SECURITY-POLICY: Frame-Ancestors 'none'"], [b"nosniff", b"private"], id="ancestors"),
        pytest.param(
            [b"Content-Security-Policy: default-src 'self'"], [b"xfo", b"nosniff", b"private"], id="other-csp"
        ),
        pytest.param([b"x-content-type-options: nosniff"], [b"xfo", b"private"], id="nosniff"),
        pytest.param([b"Cache-Control: no-store"], [b"xfo", b"nosniff"], id="no-store"),
        pytest.param([b"Cache-Control: PRIVATE, max-age=1"], [b"xfo", b"nosniff"], id="private"),
        pytest.param([b"Cache-Control: public, max-age=9"], [b"xfo", b"nosniff", b"vary"], id="cacheable"),
        pytest.param([b"Cache-Control: no-cache"], [b"xfo", b"nosniff", b"vary"], id="cacheable-if-asked"),
        pytest.param([b"Cache-Control: public", b"Vary: Accept, COOKIE"], [b"xfo", b"nosniff"], id="varies-by-cookie"),
        pytest.param([b"Vary: *", b"Cache-Control: public"], [b"xfo", b"nosniff"], id="varies-by-all"),
        pytest.param(
            [b"Cache-Control: public", b"Vary: X-Cookie-Consent"], [b"xfo", b"nosniff", b"vary"], id="varies-by-another"
        ),
    ],
)
def test_added(lines: list[bytes], added: list[bytes]) -> None:
    """Frame, sniffing and cache protection, each only where the upstream gave none."""
    known = {
        b"xfo": b"X-Frame-Options: SAMEORIGIN",
        b"nosniff": b"X-Content-Type-Options: nosniff",
        b"private": b"Cache-Control: private",
        b"vary": b"Vary: Cookie",
    }
    reply = read(b"Content-Length: 0", *lines)
    assert fields(reply) == [*lines, b"Content-Length: 0", *(known[word] for word in added)]


# Memory.


def test_secrets_are_not_repeated() -> None:
    """Of two replies that differ in a cookie and a Location alone, each browser gets its own."""
    one = rewriter()
    for secret in (b"1", b"2", b"1"):
        raw = head(b"Content-Length: 0", DATE, b"Set-Cookie: s=" + secret, b"Location: http://upstream/" + secret)
        for reply in (one.read_usual(raw), one.read(raw, method="GET")):
            assert b"Set-Cookie: s=" + secret + b"\r\n" in reply.head
            assert b"Location: https://dash.example.com/" + secret + b"\r\n" in reply.head
            assert not reply.repeats


def test_a_secret_less_reply_does_not_get_one() -> None:
    """A reply without a cookie stays without one, whatever came before."""
    one = rewriter()
    one.read_usual(head(b"Content-Length: 0", DATE, b"Set-Cookie: s=1"))
    assert b"Cookie" not in one.read_usual(head(b"Content-Length: 0", DATE)).head


def test_each_reply_has_its_own_date() -> None:
    """A remembered head is sent with the Date that came."""
    one = rewriter()
    for second in (b"31", b"32", b"31"):
        date = DATE.replace(b"31", second)
        reply = one.read_usual(head(date, b"Content-Length: 0"))
        assert reply.head.count(b"Date: ") == 1
        assert b"\r\n" + date + b"\r\n" in reply.head


def test_sites_remember_apart() -> None:
    """What one site's rewriter learned is not known to another's."""
    lines = (b"Content-Length: 0", b"Access-Control-Allow-Origin: https://dash.example.com", DATE)
    assert b"Access-Control" in rewriter().read_usual(head(*lines)).head
    assert b"Access-Control" not in rewriter("https://other.example.com").read_usual(head(*lines)).head


def test_memory_is_bounded() -> None:
    """However many heads, lines and statuses come, each is judged right and the tables stay small."""
    one = rewriter()
    for i in range(MOST_MEMORY + 10):
        reply = one.read_usual(head(b"Content-Length: 0", b"ETag: %d" % i, DATE, status=b"HTTP/1.1 200 %d" % i))
        assert reply.head.startswith(b"HTTP/1.1 200 %d\r\nETag: %d\r\nContent-Length: 0\r\n" % (i, i))
    assert len(one._heads) <= MOST_HEADS
    assert len(one._lines) <= MOST_MEMORY
    assert len(one._statuses) <= 256


LINES = st.sampled_from(
    [
        DATE,
        b"Date: Wed, 16 Nov 1994 08:12:31 GMT",
        DATE + b"0",
        DATE + b"; X: y",
        DATE + b"\r",
        DATE + b"\nX: y",
        b"date: Tue, 15 Nov 1994 08:12:31 GMT",
        b"Date: now",
        b"Content-Length: 1",
        b"Content-Length: 10",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: date, x-a",
        b"Connection: upgrade",
        b"X-A: 1",
        b"X-A",
        b"0",
        b"",
        b" folded",
        b"Cache-Control: public",
        b"X-Frame-Options: DENY",
        b"Vary: Cookie",
        b"Set-Cookie: a=b",
        b"Location: http://upstream/",
        b"X-Long: " + b"a" * 3000,
    ]
)
STATUSES = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 204 x", b""]
)


def outcome(judge: ReplyRewriter, raw: bytes, *, usual: bool) -> object:
    """What becomes of a head: the reply with its lines in order of their text, or the refusal."""
    try:
        reply = judge.read_usual(raw) if usual else judge.read(raw, method="GET")
    except BadReply:
        return None
    status, *lines = reply.head.split(b"\r\n")
    return reply._replace(head=b"", repeats=False), status, sorted(lines)


@given(st.lists(st.tuples(STATUSES, st.lists(LINES, max_size=5)), min_size=1, max_size=6))
def test_usual_equals_careful(heads: list[tuple[bytes, list[bytes]]]) -> None:
    """For any sequence of heads the short way says what the careful one says; only Date may stand elsewhere."""
    one = rewriter()
    for status, lines in heads + heads:
        raw = head(*lines, status=status)
        assert outcome(one, raw, usual=True) == outcome(rewriter(), raw, usual=False)


def test_what_follows_a_date_is_no_part_of_another_line() -> None:
    """Text behind a Date must not run into the line before it: that would be another length."""
    one = rewriter()
    raw = head(b"Content-Length: 1", DATE + b"0")
    assert one.read_usual(raw).length == 1
    assert one.read_usual(head(b"Content-Length: 10", DATE)).length == 10
    assert one.read_usual(raw).length == 1


@given(st.binary(max_size=200))
def test_nothing_unclean_gets_out(junk: bytes) -> None:
    """Whatever bytes come, a head that is passed on consists of clean lines with CRLF between them."""
    for raw in (junk, b"HTTP/1.1 200 OK\r\n" + junk, b"HTTP/1.1 200 OK\r\nX: " + junk):
        try:
            reply = rewriter().read(raw, method="GET")
        except BadReply:
            continue
        assert re.fullmatch(rb"HTTP/1\.1 [0-9]{3} [^\r\n\x00]*\r\n(?:[^\r\n\x00 :]+:[^\r\n\x00]*\r\n)+\r\n", reply.head)
