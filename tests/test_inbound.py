"""The facts of a request: what two parsers could read differently is refused (RFC 9110, RFC 9112)."""

import pytest

from oidcgate.errors import RequestError
from oidcgate.inbound import Head, RawHeaders, check_request_line, is_navigation, prefers_html, read_head

HTTP11 = (1, 1)
HTTP10 = (1, 0)
CHROME = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
FIREFOX_IMAGE = b"image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"


def headers(*lines: bytes) -> RawHeaders:
    """Header lines behind a good Host, as the parser hands them over."""
    pairs = [(b"Host", b"dash.example.com")]
    for line in lines:
        name, _, value = line.partition(b":")
        pairs.append((name, value.strip(b" \t")))
    return tuple(pairs)


def head(*lines: bytes, version: tuple[int, int] = HTTP11) -> Head:
    """The facts of a block with a good Host."""
    return read_head(headers(*lines), version)


def status_of(*lines: bytes, version: tuple[int, int] = HTTP11) -> int:
    """The status that a block is refused with."""
    with pytest.raises(RequestError) as caught:
        head(*lines, version=version)
    return caught.value.status


# The request line (RFC 9112 §3).


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/", id="root"),
        pytest.param("/api/v1/pod/%20?itemsPerPage=10&sortBy=d,creationTimestamp", id="dashboard-list"),
        pytest.param("/clusterrole/system:node", id="colon"),
        pytest.param("/api/sockjs/123/abcdefgh/websocket?0123456789abcdef", id="query-without-equals"),
        pytest.param("/%2e%2e/%zz", id="odd-escapes-pass-as-they-are"),
        pytest.param("/a//b/../c;x=1", id="ambiguous-is-for-the-policy"),
        pytest.param("/?//evil.example", id="slashes-in-the-query"),
        pytest.param("/!\"$%&'()*+,-.:;<=>?@[]^_`{|}~", id="all-printable"),
    ],
)
def test_targets_that_pass(target: str) -> None:
    """Origin-form passes untouched."""
    check_request_line("GET", target, HTTP11)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("", id="empty"),
        pytest.param("*", id="asterisk-form"),
        pytest.param("http://dash.example.com/", id="absolute-form"),
        pytest.param("HTTPS://dash.example.com/", id="absolute-form-upper"),
        pytest.param("dash.example.com:443", id="authority-form"),
        pytest.param("api", id="relative"),
        pytest.param("//evil.example/x", id="two-slashes"),
        pytest.param("/\\evil.example", id="slash-backslash"),
        pytest.param("/a\\b", id="backslash"),
        pytest.param("/a#b", id="fragment"),
        pytest.param("/#", id="bare-fragment"),
        pytest.param("/a b", id="space"),
        pytest.param("/a\tb", id="tab"),
        pytest.param("/a\r\nX: y", id="line-break"),
        pytest.param("/a\n", id="trailing-newline"),
        pytest.param("/a\x00", id="nul"),
        pytest.param("/a\x7f", id="delete"),
        pytest.param("/\u00e4", id="latin-1"),
        pytest.param("/\udcff", id="not-utf-8"),
        pytest.param("/\u2028", id="line-separator"),
    ],
)
def test_targets_that_are_refused(target: str) -> None:
    """Anything but origin-form in printable ASCII is a 400."""
    with pytest.raises(RequestError) as caught:
        check_request_line("GET", target, HTTP11)
    assert caught.value.status == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_methods_that_pass(method: str) -> None:
    """The methods that a UI needs pass."""
    check_request_line(method, "/", HTTP11)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", "PROPFIND", "PRI", "GET ", "", "M-SEARCH"])
def test_methods_that_are_refused(method: str) -> None:
    """Every other method is a 405, in whatever case."""
    with pytest.raises(RequestError) as caught:
        check_request_line(method, "/", HTTP11)
    assert caught.value.status == 405


@pytest.mark.parametrize(
    ("method", "target"),
    [pytest.param("CONNECT", "evil.example:443", id="connect"), pytest.param("OPTIONS", "*", id="options-asterisk")],
)
def test_forms_of_other_methods(method: str, target: str) -> None:
    """The target is judged before the method, so that no form slips through with its own method."""
    with pytest.raises(RequestError) as caught:
        check_request_line(method, target, HTTP11)
    assert caught.value.status == 400


def test_http_1_0_passes() -> None:
    """HTTP/1.0 is spoken."""
    check_request_line("GET", "/", HTTP10)


@pytest.mark.parametrize("version", [(0, 9), (1, 2), (2, 0), (3, 0)])
def test_other_versions(version: tuple[int, int]) -> None:
    """Versions that are not HTTP/1.0 or 1.1 are a 400, whatever the parser let through."""
    with pytest.raises(RequestError) as caught:
        check_request_line("GET", "/", version)
    assert caught.value.status == 400


# Host (RFC 9112 §3.2).


@pytest.mark.parametrize(
    ("value", "authority"),
    [
        pytest.param(b"dash.example.com", "dash.example.com", id="name"),
        pytest.param(b"DASH.Example.COM:8443", "dash.example.com:8443", id="lower-cased"),
        pytest.param(b"localhost", "localhost", id="one-label"),
        pytest.param(b"a", "a", id="one-letter"),
        pytest.param(b"192.0.2.1:80", "192.0.2.1:80", id="ipv4"),
        pytest.param(b"[::1]", "[::1]", id="ipv6"),
        pytest.param(b"[2001:DB8::1]:443", "[2001:db8::1]:443", id="ipv6-with-port"),
        pytest.param(b"my_host", "my_host", id="underscore"),
    ],
)
def test_hosts_that_pass(value: bytes, authority: str) -> None:
    """A host name or address, with or without a port, in lower case."""
    assert read_head(((b"hOsT", value),), HTTP11).authority == authority


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"a,b", id="list"),
        pytest.param(b"a b", id="space"),
        pytest.param(b"a/..", id="slash"),
        pytest.param(b"a\\b", id="backslash"),
        pytest.param(b"user@a", id="userinfo"),
        pytest.param(b"a?x", id="query"),
        pytest.param(b"a#x", id="fragment"),
        pytest.param(b"a%00", id="escape"),
        pytest.param(b"a:", id="empty-port"),
        pytest.param(b"a:+1", id="signed-port"),
        pytest.param(b"a:123456", id="long-port"),
        pytest.param(b"a:80:80", id="two-ports"),
        pytest.param(b":80", id="port-alone"),
        pytest.param(b".a", id="leading-dot"),
        pytest.param(b"a.", id="trailing-dot"),
        pytest.param(b"-a", id="leading-dash"),
        pytest.param(b"[::1", id="open-bracket"),
        pytest.param(b"[::1]x", id="behind-the-bracket"),
        pytest.param(b"[v1.x]", id="future-address"),
        pytest.param(b"[fe80::1%25eth0]", id="zone"),
        pytest.param(b"d\xc3\xa4sh.example.com", id="utf-8"),
        pytest.param(b"dash.example.com\xff", id="trailing-byte"),
        pytest.param(b"http://a", id="url"),
        pytest.param(b"a\n", id="newline"),
    ],
)
def test_hosts_that_are_refused(value: bytes) -> None:
    """Anything else is a 400."""
    with pytest.raises(RequestError) as caught:
        read_head(((b"Host", value),), HTTP11)
    assert caught.value.status == 400


@pytest.mark.parametrize("version", [HTTP11, HTTP10])
def test_no_host(version: tuple[int, int]) -> None:
    """A request without Host is a 400, on HTTP/1.0 too: it belongs to no site."""
    with pytest.raises(RequestError):
        read_head(((b"Accept", b"*/*"),), version)


@pytest.mark.parametrize(
    "line",
    [
        b"Host: dash.example.com",
        b"HOST: evil.example",
        b"Host:",
    ],
)
def test_two_hosts(line: bytes) -> None:
    """A second Host is a 400, equal or not (RFC 9112 §3.2)."""
    assert status_of(line) == 400


# The body (RFC 9112 §6).


@pytest.mark.parametrize(
    ("lines", "chunked", "length", "has_body"),
    [
        pytest.param([], False, 0, False, id="none"),
        pytest.param([b"Content-Length: 0"], False, 0, False, id="zero"),
        pytest.param([b"Content-Length: 007"], False, 7, True, id="leading-zeros"),
        pytest.param([b"content-LENGTH: 12"], False, 12, True, id="case"),
        pytest.param([b"Content-Length: 999999999999999999"], False, 10**18 - 1, True, id="largest"),
        pytest.param([b"Transfer-Encoding: chunked"], True, 0, True, id="chunked"),
        pytest.param([b"Transfer-Encoding: CHUNKED"], True, 0, True, id="chunked-upper"),
    ],
)
def test_framing_that_passes(lines: list[bytes], chunked: bool, length: int, has_body: bool) -> None:
    """One length, or chunked alone."""
    facts = head(*lines)
    assert (facts.chunked, facts.length, facts.has_body) == (chunked, length, has_body)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"Content-Length: 5", b"Transfer-Encoding: chunked"], id="length-and-chunked"),
        pytest.param([b"Transfer-Encoding: chunked", b"Content-Length: 0"], id="chunked-and-zero"),
        pytest.param([b"Content-Length: 5", b"Content-Length: 5"], id="same-length-twice"),
        pytest.param([b"Content-Length: 5", b"content-length: 6"], id="two-lengths"),
        pytest.param([b"Content-Length: 5, 5"], id="list-of-lengths"),
        pytest.param([b"Content-Length: +5"], id="plus"),
        pytest.param([b"Content-Length: -5"], id="minus"),
        pytest.param([b"Content-Length: 0x5"], id="hexadecimal"),
        pytest.param([b"Content-Length: 5 5"], id="inner-space"),
        pytest.param([b"Content-Length: 1_0"], id="underscore"),
        pytest.param([b"Content-Length:"], id="empty-length"),
        pytest.param([b"Content-Length: 5\xc2\xb2"], id="unicode-digit"),
        pytest.param([b"Content-Length: 1000000000000000000"], id="huge"),
        pytest.param([b"Transfer-Encoding: gzip"], id="gzip"),
        pytest.param([b"Transfer-Encoding: gzip, chunked"], id="gzip-chunked"),
        pytest.param([b"Transfer-Encoding: chunked, identity"], id="chunked-identity"),
        pytest.param([b"Transfer-Encoding: identity"], id="identity"),
        pytest.param([b"Transfer-Encoding: xchunked"], id="xchunked"),
        pytest.param([b"Transfer-Encoding: chunked;q=1"], id="parameter"),
        pytest.param([b'Transfer-Encoding: "chunked"'], id="quoted"),
        pytest.param([b"Transfer-Encoding:"], id="empty-coding"),
        pytest.param([b"Transfer-Encoding: \x0bchunked"], id="vertical-tab"),
        pytest.param([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], id="chunked-twice"),
        pytest.param([b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"], id="two-codings"),
    ],
)
def test_framing_that_is_refused(lines: list[bytes]) -> None:
    """Framing that two servers could read in two ways is a 400."""
    assert status_of(*lines) == 400


def test_chunked_on_http_1_0() -> None:
    """HTTP/1.0 knows no chunked; an old proxy in front would see another end of the body."""
    assert status_of(b"Transfer-Encoding: chunked", version=HTTP10) == 400


@pytest.mark.parametrize(
    ("lines", "expects"),
    [
        pytest.param([], False, id="none"),
        pytest.param([b"Expect: 100-continue"], True, id="continue"),
        pytest.param([b"Expect: 100-Continue"], True, id="case"),
        pytest.param([b"Expect:"], False, id="empty"),
    ],
)
def test_expect_that_passes(lines: list[bytes], expects: bool) -> None:
    """``100-continue`` is understood."""
    assert head(*lines).expects_continue is expects


@pytest.mark.parametrize("value", [b"200-ok", b"100-continue, x", b"100-continue=1", b"100", b"\x0b100-continue"])
def test_other_expectations(value: bytes) -> None:
    """Any other expectation is a 417 (RFC 9110 §10.1.1)."""
    assert status_of(b"Expect: " + value) == 417


@pytest.mark.parametrize(
    "name", [b"Origin", b"Referer", b"Expect", b"Upgrade", b"Content-Type", b"Content-Length", b"Transfer-Encoding"]
)
def test_single_values_sent_twice(name: bytes) -> None:
    """A header of one value that comes twice is a 400, in whatever case."""
    assert status_of(name + b": 1", name.upper() + b": 1") == 400


# Connection and Upgrade (RFC 9110 §7.6.1, §7.8).


@pytest.mark.parametrize(
    ("lines", "nominated"),
    [
        pytest.param([], set(), id="none"),
        pytest.param([b"Connection: keep-alive"], {b"keep-alive"}, id="one"),
        pytest.param([b"Connection: Keep-Alive, X-Thing ,,close"], {b"keep-alive", b"x-thing", b"close"}, id="list"),
        pytest.param([b"Connection: a", b"CONNECTION: B"], {b"a", b"b"}, id="several-lines"),
        pytest.param([b"Connection: TE, Upgrade"], {b"te", b"upgrade"}, id="hop-by-hop"),
        pytest.param([b"Connection: ,"], set(), id="empty-elements"),
        pytest.param(
            [b"Connection: x-csrf-token"], {b"x-csrf-token"}, id="an-end-to-end-header-that-only-its-owner-needs"
        ),
    ],
)
def test_nominated(lines: list[bytes], nominated: set[bytes]) -> None:
    """The tokens of all Connection lines, in lower case."""
    assert head(*lines).nominated == nominated


@pytest.mark.parametrize("separator", [b"-", b"_", b".", b"__", b"._-"])
@pytest.mark.parametrize(
    "name",
    [
        b"Content-Length",
        b"content-type",
        b"X-Forwarded-For",
        b"X-Forwarded-Proto",
        b"Sec-Fetch-Site",
        b"Sec-WebSocket-Protocol",
        b"SEC-anything",
    ],
)
def test_nominating_what_decides_by_an_alias(name: bytes, separator: bytes) -> None:
    """Connection cannot remove a header that decides something, however its dashes are spelled."""
    assert status_of(b"Connection: " + name.replace(b"-", separator)) == 400


@pytest.mark.parametrize("name", [b"Host", b"Authorization", b"Cookie", b"Forwarded", b"Origin", b"Referer"])
def test_nominating_what_decides(name: bytes) -> None:
    """Nor one of a single word; a harmless token beside it, or a second line, makes no difference."""
    assert status_of(b"Connection: " + name) == 400
    assert status_of(b"Connection: close, " + name.upper()) == 400
    assert status_of(b"Connection: close", b"connection: " + name.lower()) == 400


@pytest.mark.parametrize(
    "value",
    [b"a b", b'"close"', b"close;x", b"a/b", b"up\tgrade", b"(x)", b"a=b", b"caf\xc3\xa9", b"close\x00", b"\x0cclose"],
)
def test_connection_that_is_no_list_of_tokens(value: bytes) -> None:
    """A Connection that is not a list of tokens is a 400."""
    assert status_of(b"Connection: " + value) == 400


@pytest.mark.parametrize(
    ("lines", "upgrade"),
    [
        pytest.param([], b"", id="none"),
        pytest.param([b"Connection: Upgrade", b"Upgrade: websocket"], b"websocket", id="websocket"),
        pytest.param([b"Connection: keep-alive, uPgRaDe", b"Upgrade: WebSocket"], b"websocket", id="firefox"),
        pytest.param([b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"], b"h2c", id="h2c"),
        pytest.param([b"Connection: Upgrade", b"Upgrade: websocket, h2c"], b"websocket, h2c", id="list"),
        pytest.param([b"Upgrade: websocket"], b"", id="not-nominated"),
        pytest.param([b"Connection: Upgrade"], b"", id="nominated-only"),
    ],
)
def test_upgrade(lines: list[bytes], upgrade: bytes) -> None:
    """An upgrade is asked for by both headers together."""
    assert head(*lines).upgrade == upgrade


# Values.


@pytest.mark.parametrize(
    "name",
    [
        b"Origin",
        b"Referer",
        b"Cookie",
        b"Sec-Fetch-Site",
        b"Sec-WebSocket-Protocol",
        b"Connection",
        b"Upgrade",
        b"TE",
        b"Expect",
        b"X-Forwarded-For",
        b"x-anything",
        b"Forwarded",
        b"Via",
    ],
)
def test_bytes_beyond_ascii_where_they_matter(name: bytes) -> None:
    """A byte that is not ASCII in a header that decides something is a 400: others may drop it."""
    assert status_of(name + b": adm\xffin") == 400


def test_bytes_beyond_ascii_elsewhere() -> None:
    """Other headers are opaque bytes (RFC 9110 §5.5)."""
    assert head("Content-Disposition: f\u00fcr".encode()).length == 0


def test_gathered_values() -> None:
    """The facts that later stops ask for; lists on several lines are joined, cookies as cookies."""
    facts = head(
        b"Cookie: a=1",
        b"cookie: b=2",
        b"Origin: https://dash.example.com",
        b"Referer: https://dash.example.com/x",
        b"Sec-Fetch-Site: same-origin",
        b"Sec-Fetch-Mode: cors",
        b"Sec-Fetch-Dest: empty",
        b"Accept: a/b",
        b"Accept: c/d",
        b"X-Forwarded-For: 192.0.2.1",
        b"X-Forwarded-For: 192.0.2.2",
    )
    assert facts.cookie == b"a=1; b=2"
    assert facts.origin == b"https://dash.example.com"
    assert facts.referer == b"https://dash.example.com/x"
    assert (facts.fetch_site, facts.fetch_mode, facts.fetch_dest) == (b"same-origin", b"cors", b"empty")
    assert facts.accept == b"a/b, c/d"
    assert facts.forwarded_for == b"192.0.2.1, 192.0.2.2"


TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
PARENT = b"00-" + TRACE + b"-" + SPAN + b"-01"


@pytest.mark.parametrize(
    ("value", "trace"),
    [
        pytest.param(PARENT, TRACE, id="good"),
        pytest.param(PARENT[:-2] + b"00", TRACE, id="not-sampled"),
        pytest.param(b"01" + PARENT[2:], TRACE, id="later-version"),
        pytest.param(b"cc" + PARENT[2:] + b"-what-the-future-brings", TRACE, id="later-version-more-fields"),
        pytest.param(b"01" + PARENT[2:] + b"x", b"", id="later-version-longer-flags"),
        pytest.param(PARENT + b"-more", b"", id="this-version-has-no-more"),
        pytest.param(PARENT + b"-", b"", id="trailing-dash"),
        pytest.param(PARENT + b"x", b"", id="longer"),
        pytest.param(PARENT[:-1], b"", id="shorter"),
        pytest.param(PARENT.upper(), b"", id="upper-case"),
        pytest.param(b"ff" + PARENT[2:], b"", id="version-ff"),
        pytest.param(b"00-" + b"0" * 32 + b"-" + SPAN + b"-01", b"", id="no-trace"),
        pytest.param(b"00-" + TRACE + b"-" + b"0" * 16 + b"-01", b"", id="no-span"),
        pytest.param(b"00-" + TRACE[:-1] + b"g-" + SPAN + b"-01", b"", id="not-hexadecimal"),
        pytest.param(b"00-" + TRACE[:-1] + b"-" + SPAN + b"-01", b"", id="short-trace"),
        pytest.param(PARENT.replace(b"-", b"_"), b"", id="other-separators"),
        pytest.param(b'00-"},{"a":"b', b"", id="json"),
        pytest.param(b" ", b"", id="blank"),
        pytest.param(b"", b"", id="empty"),
        pytest.param(b"\xff" * 55, b"", id="no-text"),
    ],
)
def test_the_trace(value: bytes, trace: bytes) -> None:
    """Only an id that W3C Trace Context takes for one, and nothing of a header that it does not."""
    assert head(b"Traceparent: " + value).trace == trace.decode()


def test_two_traces() -> None:
    """Nobody knows which of them it is; the request is none the worse for it."""
    assert head(b"traceparent: " + PARENT, b"Traceparent: " + PARENT).trace == ""
    assert head().trace == ""


def test_absent_and_empty_origin_differ() -> None:
    """An empty Origin is a foreign one; an absent one says nothing."""
    assert head().origin is None
    assert head(b"Origin:").origin == b""


def test_a_head_shows_no_cookie() -> None:
    """The cookie is a secret: not in the repr."""
    assert "hush" not in repr(head(b"Cookie: oidcgate=hush"))


# Navigation.


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param(CHROME, True, id="chrome"),
        pytest.param(b"text/html", True, id="html"),
        pytest.param(b"TEXT/HTML; charset=utf-8", True, id="case-and-parameter"),
        pytest.param(b"application/xhtml+xml", True, id="xhtml"),
        pytest.param(b"text/html;q=0.9,", True, id="empty-element"),
        pytest.param(b"application/json, text/html", True, id="tie"),
        pytest.param(b"text/html;q=0.5, */*;q=0.9", True, id="a-wildcard-is-no-other-kind"),
        pytest.param(b"", False, id="empty"),
        pytest.param(b"*/*", False, id="curl"),
        pytest.param(b"text/*", False, id="text-wildcard"),
        pytest.param(b"application/json, text/plain, */*", False, id="angular"),
        pytest.param(b"application/json, text/html;q=0.9", False, id="json-ranked-above"),
        pytest.param(b"text/html;q=0", False, id="html-refused"),
        pytest.param(b"text/html;q=nonsense", False, id="bad-quality"),
        pytest.param(b"text/html;q=nan", False, id="not-a-number"),
        pytest.param(FIREFOX_IMAGE, False, id="image"),
        pytest.param(b"text/htmlx", False, id="prefix-only"),
    ],
)
def test_prefers_html(accept: bytes, expected: bool) -> None:
    """Only an Accept that names HTML and ranks nothing above it."""
    assert prefers_html(accept) is expected


@pytest.mark.parametrize(
    ("method", "lines", "expected"),
    [
        pytest.param("GET", [b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document"], True, id="document"),
        pytest.param("HEAD", [b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document"], True, id="head"),
        pytest.param("GET", [b"Accept: text/html"], True, id="old-browser"),
        pytest.param("GET", [], False, id="nothing-said"),
        pytest.param("GET", [b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: iframe"], False, id="iframe"),
        pytest.param("GET", [b"Sec-Fetch-Mode: navigate"], False, id="mode-alone"),
        pytest.param("GET", [b"Sec-Fetch-Dest: document", b"Accept: text/html"], False, id="dest-alone"),
        pytest.param("GET", [b"Sec-Fetch-Mode: cors", b"Accept: text/html"], False, id="fetch-for-html"),
        pytest.param("GET", [b"Sec-Fetch-Mode: no-cors", b"Sec-Fetch-Dest: script"], False, id="script"),
        pytest.param("POST", [b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-Dest: document"], False, id="form"),
        pytest.param(
            "GET", [b"Accept: text/html", b"Connection: Upgrade", b"Upgrade: websocket"], False, id="websocket"
        ),
    ],
)
def test_navigation(method: str, lines: list[bytes], expected: bool) -> None:
    """A person opening a page, by Fetch Metadata and else by Accept."""
    assert is_navigation(method, head(*lines)) is expected
