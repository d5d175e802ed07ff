"""Which of the client's headers go on: none that claims to be somebody, in any spelling (RFC 9110 §7.6.1)."""

import pytest

from oidcgate.inbound import RawHeaders, read_head
from oidcgate.proxy.headers import canonical, end_to_end, is_dropped

HOST = (b"Host", b"dash.example.com")
OWN = b"__Host-oidcgate"

HOP_BY_HOP = [
    "Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
    "Proxy-Connection",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Anything",
]
IDENTITY = [
    "Authorization",
    "jweToken",
    "Impersonate-User",
    "Impersonate-Group",
    "Impersonate-Uid",
    "Impersonate-Extra-scopes",
    "X-Remote-User",
    "X-Remote-Group",
    "X-Remote-Extra-scopes",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Access-Token",
    "X-Forwarded-Id-Token",
    "X-Auth-Request-User",
    "X-Auth-Request-Access-Token",
    "X-WebAuth-User",
]
ROUTING = [
    "Host",
    "Cookie",
    "Content-Length",
    "Expect",
    "Via",
    "Max-Forwards",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Real-IP",
    "X-Client-IP",
    "True-Client-IP",
    "X-Cluster-Client-IP",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-Method-Override",
]


def block(*lines: tuple[bytes, bytes], others: tuple[bytes, ...] = (), websocket: bool = False) -> bytes:
    """What goes on of a block with a good Host."""
    raw: RawHeaders = (HOST, *lines)
    return end_to_end(raw, read_head(raw, (1, 1)), own=OWN, others=others, websocket=websocket)


@pytest.mark.parametrize("separator", ["-", "_", ".", "--", "__", "._", "-_.-"])
@pytest.mark.parametrize("name", HOP_BY_HOP + IDENTITY + ROUTING)
def test_dropped_in_every_spelling(name: str, separator: str) -> None:
    """Case, and runs of ``_``, ``.`` and ``-``, make no other header."""
    alias = name.replace("-", separator)
    for spelling in (alias, alias.lower(), alias.upper(), alias.swapcase()):
        assert is_dropped(spelling.encode())


@pytest.mark.parametrize(
    "name",
    [
        "Accept",
        "Accept-Encoding",
        "Cache-Control",
        "Content-Type",
        "Content-Encoding",
        "If-None-Match",
        "Origin",
        "Range",
        "Referer",
        "Sec-Fetch-Site",
        "User-Agent",
        "X-CSRF-TOKEN",
        "X-Requested-With",
        "Authorization-Info",
        "Impersonate",
        "X-Remote",
        "Upgrade-Insecure-Requests",
    ],
)
def test_passed_on(name: str) -> None:
    """What a UI needs goes on."""
    assert not is_dropped(name.encode())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(b"X_Forwarded.For", "x-forwarded-for", id="mixed"),
        pytest.param(b"X-_.-Remote__User", "x-remote-user", id="runs"),
        pytest.param(b"AUTHORIZATION", "authorization", id="case"),
    ],
)
def test_canonical(name: bytes, expected: str) -> None:
    """A name as the most forgiving server reads it."""
    assert canonical(name) == expected


def test_lines_go_on_as_they_came() -> None:
    """Order, case and bytes stay; repeated lines stay repeated."""
    assert block((b"aCCept", b"a/b"), (b"User-Agent", b"f\xc3\xbcr\xff"), (b"Accept", b"c/d"), (b"X-Empty", b"")) == (
        b"aCCept: a/b\r\nUser-Agent: f\xc3\xbcr\xff\r\nAccept: c/d\r\nX-Empty: \r\n"
    )


@pytest.mark.parametrize(
    ("connection", "name"),
    [
        pytest.param([b"X-Thing"], b"X-Thing", id="plain"),
        pytest.param([b"close, x-thing"], b"X-THING", id="case"),
        pytest.param([b"close", b"X-Thing"], b"X-Thing", id="second-line"),
        pytest.param([b"x_thing"], b"X-Thing", id="alias-nominated"),
        pytest.param([b"x-thing"], b"x.thing", id="alias-sent"),
    ],
)
def test_nominated(connection: list[bytes], name: bytes) -> None:
    """What Connection names stays here, in every spelling, and Connection itself with it."""
    lines = [(b"Connection", value) for value in connection]
    assert block(*lines, (name, b"1"), (b"X-Other", b"2")) == b"X-Other: 2\r\n"


def test_upgrade_changes_nothing() -> None:
    """Identity, hop-by-hop and nominated headers stay here on upgrades too."""
    lines = [(b"Connection", b"Upgrade, X-Thing"), (b"Upgrade", b"websocket"), (b"X-Thing", b"1")]
    lines += [(b"Impersonate_User", b"root"), (b"Authorization", b"Bearer x"), (b"Origin", b"https://a")]
    assert block(*lines, websocket=True) == b"Origin: https://a\r\n"


@pytest.mark.parametrize(
    "name", [b"Sec-WebSocket-Key", b"sec-websocket-protocol", b"SEC_WEBSOCKET_PROTOCOL", b"Sec.WebSocket--Extensions"]
)
def test_handshake_headers(name: bytes) -> None:
    """The tunnel writes the handshake; a client's header in any spelling would be a second one."""
    assert block((name, b"x"), websocket=True) == b""


def test_handshake_headers_of_other_requests() -> None:
    """Without an upgrade they mean nothing and pass."""
    assert block((b"Sec-WebSocket-Key", b"x")) == b"Sec-WebSocket-Key: x\r\n"


@pytest.mark.parametrize(
    ("cookies", "expected"),
    [
        pytest.param([b"a=1; b=2"], b"Cookie: a=1; b=2\r\n", id="others-pass"),
        pytest.param([b"a=1", b"b=2"], b"Cookie: a=1; b=2\r\n", id="several-lines-become-one"),
        pytest.param([b"__Host-oidcgate=secret"], b"", id="ours-alone"),
        pytest.param([b"a=1; __Host-oidcgate=secret; b=2"], b"Cookie: a=1; b=2\r\n", id="ours-between"),
        pytest.param([b"__Host-oidcgate-login-abc=x; a=1"], b"Cookie: a=1\r\n", id="our-login"),
        pytest.param([b"__hOSt-OIDCGATE=x; a=1"], b"Cookie: a=1\r\n", id="another-case"),
        pytest.param([b"\t __Host-oidcgate = x; a=1"], b"Cookie: a=1\r\n", id="space-around"),
        pytest.param([b"__Host-oidcgate; a=1"], b"Cookie: a=1\r\n", id="without-a-value"),
        pytest.param([b"jweToken=x; token=y; a=1"], b"Cookie: a=1\r\n", id="the-ui-s-own-token"),
        pytest.param([b"JWETOKEN=x; tokens=y"], b"Cookie: tokens=y\r\n", id="in-another-case-but-whole-name"),
        pytest.param([b";;; "], b"", id="nothing"),
    ],
)
def test_cookies(cookies: list[bytes], expected: bytes) -> None:
    """Our cookies and the UI's own login stay here; the rest becomes one Cookie line."""
    lines = [(b"Cookie", value) for value in cookies]
    assert block(*lines, others=(b"jweToken", b"token")) == expected
