"""What goes to the upstream and what comes back, byte for byte, on the slow way and on the quick one."""

import asyncio
import gzip
import json

import pytest

from oidcgate.web.site import quick_target
from tests.support.raw import Reply, Wire
from tests.support.upstream import QUICK, SLOW, WAYS, Arrived, Gated, Link, Pairs, answer, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

both_ways = pytest.mark.parametrize("way", WAYS)


def chunks(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Pieces as chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

# The request's line.

PLAIN = quick_target("/oauth2", ())


@both_ways
@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/pod/%20?itemsPerPage=10&page=1&sortBy=d,creationTimestamp",
        "/clusterrole/system:node",
        "/a%zz",
        "/sockjs/info?0123456789abcdef",
        "/x/../api",
        "/x/%2e%2e/api",
        "/%2Fetc%2fpasswd;v=1",
        "/~%7e",
        "/a//b?",
        "/?q=%00%0d%0a",
        "/'()*!$&+@[]{}|^`",
        "/" + "a" * 20_000,
    ],
)
async def test_a_target_arrives_byte_for_byte(gated: Gated, way: str, target: str) -> None:
    """What was authorised is what is sent: the gate decodes, normalises and escapes nothing."""
    reply = await gated.ask(way, target, lands=None if PLAIN.fullmatch(target) else SLOW)
    assert reply.status == 200
    assert gated.upstream.requests[0].first_line == f"GET {target} HTTP/1.1".encode()


@both_ways
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET http://localhost/ HTTP/1.1", 400),
        ("GET http://elsewhere.example/ HTTP/1.1", 400),
        ("GET //elsewhere.example/ HTTP/1.1", 400),
        ("GET /\\elsewhere.example HTTP/1.1", 400),
        ("GET /a#fragment HTTP/1.1", 400),
        ("GET /a\\b HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("OPTIONS * HTTP/1.1", 400),
        ("GET a HTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET /a\tb HTTP/1.1", 400),
        ("GET /a\x7fb HTTP/1.1", 400),
        ("GET /caf\xe9 HTTP/1.1", 400),
        ("GET /caf\xc3\xa9 HTTP/1.1", 400),
        ("CONNECT elsewhere.example:443 HTTP/1.1", 400),
        ("CONNECT / HTTP/1.1", 405),
        ("TRACE / HTTP/1.1", 405),
        ("PROPFIND / HTTP/1.1", 405),
        ("get / HTTP/1.1", 400),
        ("BREW / HTTP/1.1", 400),
        ("GET /", 400),
        ("GET / HTTP/0.9", 400),
        ("GET / HTTP/1.2", 400),
        ("GET / HTTP/2.0", 400),
        ("GET / HTTP/3.0", 400),
        ("GET / HTTPS/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("\x16\x03\x01\x02", 400),
    ],
)
async def test_an_odd_request_line_is_refused(gated: Gated, way: str, line: str, status: int) -> None:
    """No other form, method or version passes; the answer is HTTP/1, quotes nothing, and ends the connection."""
    _, _, block = gated.request().partition(b"\r\n")
    async with gated.wire() as wire:
        await gated.prepare(wire, way, b"GET / HTTP/1.1\r\n" + block)
        await wire.send(line.encode("latin-1") + b"\r\n" + block)
        raw = await wire.rest()
    version, code, _ = raw.split(b" ", 2)
    assert int(code) == status
    assert version in (b"HTTP/1.0", b"HTTP/1.1")
    assert b"elsewhere" not in raw
    assert gated.handles["alice"].encode() not in raw
    assert gated.upstream.requests == []


# The request's headers.


@both_ways
@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "authorization",
        "AUTHORIZATION",
        "Proxy-Authorization",
        "Proxy_Authorization",
        "Impersonate-User",
        "impersonate-user",
        "Impersonate_User",
        "Impersonate.User",
        "Impersonate-Group",
        "Impersonate__Group",
        "Impersonate-Uid",
        "Impersonate-Extra-Scopes",
        "Impersonate_Extra.Scopes",
        "X-Remote-User",
        "X_Remote_User",
        "X-Remote-Group",
        "X-Remote-Extra-Scopes",
        "X-Forwarded-User",
        "X_Forwarded_User",
        "X-Forwarded-Email",
        "X-Forwarded-Groups",
        "X-Forwarded-Access-Token",
        "X-Forwarded-Id-Token",
        "X-Auth-Request-User",
        "X_Auth-Request.Email",
        "X-WebAuth-User",
        "jweToken",
        "JWETOKEN",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "Forwarded",
        "True-Client-IP",
        "Keep-Alive",
        "TE",
        "Trailer",
        "HTTP2-Settings",
        "Proxy-Connection",
        "Max-Forwards",
    ],
)
async def test_a_header_that_claims_an_identity_or_a_route_stays_here(gated: Gated, way: str, name: str) -> None:
    """Neither the name nor the value arrives, in any spelling, and the one Authorization is the person's own."""
    reply = await gated.ask(way, headers=[(name, "smuggled-in"), ("X-Kept", "yes")])
    assert reply.status == 200
    arrived = gated.upstream.requests[0]
    assert b"smuggled-in" not in arrived.raw
    assert arrived.value("Authorization") == gated.bearer()
    assert arrived.value("X-Kept") == "yes"
    known = {"authorization"}
    assert name.lower() in known or not arrived.values(name)


@both_ways
async def test_the_gates_own_headers_arrive_once(gated: Gated, way: str) -> None:
    """Host is the upstream's; the forwarding headers are ours, whatever a client writes into them."""
    await gated.ask(
        way,
        headers=[
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Proto", "gopher"),
            ("X-Real-IP", "6.6.6.6"),
            ("Via", "1.1 somebody"),
        ],
    )
    arrived = gated.upstream.requests[0]
    assert arrived.value("Host") == gated.upstream.url.partition("://")[2]
    assert arrived.value("X-Forwarded-For") == "127.0.0.1"
    assert arrived.value("X-Real-IP") == "127.0.0.1"
    assert arrived.value("X-Forwarded-Host") == f"localhost:{gated.port}"
    assert arrived.value("X-Forwarded-Proto") == "http"
    assert arrived.value("X-Forwarded-Port") == str(gated.port)
    assert arrived.value("Via").startswith("1.1 oidcgate")
    assert b"6.6.6.6" not in arrived.raw


@both_ways
@pytest.mark.parametrize(
    "lines",
    [
        [("traceparent", f"00-{'4bf92f3577b34da6' * 2}-00f067aa0ba902b7-01"), ("tracestate", "a=1,b@c=t:61rcWkgMzE")],
        [("TraceParent", f"cc-{'4bf92f3577b34da6' * 2}-00f067aa0ba902b7-01-more"), ("TraceState", "a=1,  b=2 ,")],
        [("traceparent", "nonsense"), ("tracestate", "a=1"), ("tracestate", "b=2")],
        [("traceparent", "00-" + "0" * 32 + "-" + "0" * 16 + "-00"), ("traceparent", "another")],
        [("tracestate", "\xfc=\xff"), ("baggage", "userId=alice")],
    ],
)
async def test_a_trace_arrives_byte_for_byte(gated: Gated, way: str, lines: Pairs) -> None:
    """The gate neither begins a trace nor joins it: names, values and their order are the client's."""
    raw = gated.request(headers=lines)
    is_traced = len(lines[0][1]) >= 55 and "0" * 32 not in lines[0][1]  # such a block is not remembered
    await gated.ask(way, headers=lines, lands=SLOW if is_traced else None)
    (arrived,) = gated.upstream.requests
    names = ("traceparent", "tracestate", "baggage")
    found = [(name, value) for name, value in arrived.headers if name.decode().lower() in names]
    assert found == [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines]
    assert b"\r\n".join(name + b": " + value for name, value in found) in raw


async def test_a_trace_in_the_log(gated: Gated) -> None:
    """By its id alone, and only when it is one."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for value, shown in ((f"00-{trace}-00f067aa0ba902b7-01", trace), (f"00-{trace}-00f067aa0ba902b7-01-x", None)):
        for _ in range(2):
            await gated.fetch(gated.request("/traced", headers=[("traceparent", value)]))
        rows = [json.loads(line) for line in gated.access_log().splitlines()[-2:]]
        assert [(row["path"], row.get("trace")) for row in rows] == [("/traced", shown)] * 2
        assert "00f067aa0ba902b7" not in gated.log.read_text()


@both_ways
async def test_the_gate_invents_no_header(gated: Gated, way: str) -> None:
    """No User-Agent, Accept, Accept-Encoding or Content-Type is added, and no Connection."""
    await gated.ask(way)
    names = sorted(name.decode() for name, _ in gated.upstream.requests[0].headers)
    assert names == [
        "Authorization",
        "Host",
        "Sec-Fetch-Site",
        "Via",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Proto",
        "X-Real-IP",
    ]


@both_ways
async def test_nominated_headers_go_before_the_gates_are_added(gated: Gated, way: str) -> None:
    """Connection removes what it names from the client's headers, itself included, and nothing of the gate's."""
    await gated.ask(way, headers=[("Connection", "keep-alive, X-Secret, via"), ("X-Secret", "1"), ("X-Other", "2")])
    arrived = gated.upstream.requests[0]
    assert arrived.value("X-Secret") == ""
    assert arrived.value("Connection") == ""
    assert arrived.value("X-Other") == "2"
    assert arrived.value("Via").startswith("1.1 oidcgate")


@pytest.mark.parametrize(
    "token",
    [
        "Host",
        "Authorization",
        "Cookie",
        "Content-Length",
        "content_type",
        "X-Forwarded-For",
        "Sec-Fetch-Site",
        "Origin",
    ],
)
async def test_a_deciding_header_cannot_be_nominated(gated: Gated, token: str) -> None:
    """Connection that names what decides something is answered 400."""
    reply = await gated.fetch(gated.request(headers=[("Connection", f"close, {token}")]))
    assert reply.status == 400
    assert gated.upstream.requests == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Host", "")], 400),
        ([("Host", "a,b/../\\@")], 400),
        ([("Host", "localhost:port")], 400),
        ([("Host", "user@localhost")], 400),
        ([("Host", "local host")], 400),
        ([("Host", "localhost"), ("Host", "localhost")], 400),
        ([], 400),
        ([("Host", "elsewhere.example")], 421),
        ([("Host", "localhost:1")], 421),
        ([("Host", "127.0.0.1")], 421),
    ],
)
async def test_a_host_that_is_not_ours_is_refused(gated: Gated, headers: Pairs, status: int) -> None:
    """Exactly one well-formed Host that names a site, or nothing is passed on."""
    reply = await gated.fetch(gated.request(host="", headers=headers))
    assert reply.status == status
    assert gated.upstream.requests == []


async def test_the_host_of_a_site_may_be_written_in_capitals_or_with_a_final_dot(gated: Gated) -> None:
    """Host names are compared as names are."""
    for host in (f"LOCALHOST:{gated.port}", f"localhost:{gated.port}"):
        reply = await gated.fetch(gated.request(host=host))
        assert reply.status == 200


@both_ways
async def test_bytes_that_are_not_utf8_arrive_as_they_came(gated: Gated, way: str) -> None:
    """A header value is opaque: no byte of it vanishes."""
    await gated.ask(way, headers=[("Accept-Language", "adm\xffin\xc3\xa9"), ("User-Agent", "\x80")])
    raw = gated.upstream.requests[0].raw
    assert b"Accept-Language: adm\xffin\xc3\xa9\r\n" in raw
    assert b"User-Agent: \x80\r\n" in raw


@pytest.mark.parametrize("name", ["Cookie", "Origin", "X-Custom", "Sec-Fetch-Dest", "Via"])
async def test_bytes_that_are_not_ascii_are_refused_where_they_decide(gated: Gated, name: str) -> None:
    """A filter must not read something other than the server behind it: 400."""
    reply = await gated.fetch(gated.request(headers=[(name, "adm\xffin")]))
    assert reply.status == 400
    assert gated.upstream.requests == []


@both_ways
async def test_own_cookies_stay_here(gated: Gated, way: str) -> None:
    """The session's cookie and everything named like it is kept from the upstream; other cookies arrive."""
    jar = f"lang=en; oidcgate={gated.handles['alice']}; oidcgate-login-x=1; theme=dark"
    await gated.ask(way, who=None, headers=[("Cookie", jar)])
    assert gated.upstream.requests[0].value("Cookie") == "lang=en; theme=dark"


async def test_a_loop_through_the_gate_is_refused(gated: Gated) -> None:
    """A request that carries our own Via came round in a circle."""
    await gated.ask(SLOW)
    via = gated.upstream.requests[0].value("Via")
    assert (await gated.fetch(gated.request(headers=[("Via", f"1.1 other, {via}")]))).status == 400
    assert len(gated.upstream.requests) == 1


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Length", "3"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "3"), ("Content-Length", "3")],
        [("Content-Length", "3"), ("Content-Length", "4")],
        [("Content-Length", "3, 3")],
        [("Content-Length", "+3")],
        [("Content-Length", "-3")],
        [("Content-Length", "0x3")],
        [("Content-Length", "9" * 40)],
        [("Content-Length", "")],
        [("Transfer-Encoding", "gzip, chunked")],
        [("Transfer-Encoding", "xchunked")],
        [("Transfer-Encoding", "chunked, chunked")],
        [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "identity")],
        [("Transfer-Encoding", "chunked"), ("X-A", "1\r\n folded")],
        [("X A", "space in the name")],
        [("X-A ", "space before the colon")],
        [("X-A", "nul \x00")],
        [("X-A", "bare\rreturn")],
    ],
)
async def test_ambiguous_framing_is_refused(gated: Gated, headers: Pairs) -> None:
    """A request that two servers could cut differently is answered 400, and nothing after it is read."""
    raw = gated.request(method="POST", headers=headers) + b"abc" + gated.request("/second")
    async with gated.wire() as wire:
        await wire.send(raw)
        reply = await wire.reply()
        assert reply.status == 400
        assert await wire.is_closed()
    assert gated.upstream.requests == []


async def test_chunked_on_http_1_0_is_refused(gated: Gated) -> None:
    """HTTP/1.0 has no chunked coding."""
    raw = gated.request(method="POST", version="HTTP/1.0", headers=[("Transfer-Encoding", "chunked")]) + chunks(b"a")
    assert (await gated.fetch(raw)).status == 400


# The reply's head.


@both_ways
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
        b"HTTP/1.1 099 Low\r\n",
        b"HTTP/1.1 600 High\r\n",
        b"HTTP/1.1 999 High\r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/1.1  200 OK\r\n",
        b"HTTP/2.0 200 OK\r\n",
        b"HTTP/1.2 200 OK\r\n",
        b"http/1.1 200 OK\r\n",
        b"ICY 200 OK\r\n",
        b"<html>\r\n",
        b"HTTP/1.1 200 O\rK\r\n",
        b"HTTP/1.1 200 OK\nX-A: 1\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: 1\nX-B: 2\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: 1\rX-B: 2\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: nul \x00\r\n",
        b"HTTP/1.1 200 OK\r\nX-A : 1\r\n",
        b"HTTP/1.1 200 OK\r\nX A: 1\r\n",
        b"HTTP/1.1 200 OK\r\n: 1\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 300,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    ],
)
async def test_a_reply_that_a_strict_parser_refuses_is_no_reply(gated: Gated, way: str, head: bytes) -> None:
    """The browser gets a 502 of our own and not a byte of it; the upstream's connection is not used again."""
    gated.upstream.script = head + b"\r\nsmuggled"
    reply = await gated.ask(way)
    assert reply.status == 502
    assert b"upstream_broken" in reply.body
    assert b"smuggled" not in reply.body
    assert len(gated.pool.idle) == 0


@both_ways
async def test_a_head_that_never_ends_is_cut(gated: Gated, way: str) -> None:
    """64 KiB of head are enough: 502."""
    gated.upstream.script = b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 70_000
    assert (await gated.ask(way)).status == 502


@both_ways
async def test_hop_by_hop_headers_of_a_reply_stay_here(gated: Gated, way: str) -> None:
    """What the upstream says of its own connection, of itself, and what it nominates does not reach the browser."""
    gated.upstream.script = answer(
        headers=[
            ("Connection", "keep-alive, X-Internal"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authenticate", "Basic"),
            ("X-Internal", "secret"),
            ("Server", "secret"),
            ("Trailer", "X-Sum"),
            ("Upgrade", "h2c"),
            ("Clear-Site-Data", "secret"),
            ("X-Kept", "caf\xe9"),
            ("ETag", '"1"'),
        ]
    )
    reply = await gated.ask(way)
    names = {name for name, _ in reply.headers}
    assert not names & {"Connection", "Keep-Alive", "Proxy-Authenticate", "X-Internal", "Server", "Trailer", "Upgrade"}
    assert "Clear-Site-Data" not in names
    assert reply.value("X-Kept") == "caf\xe9"
    assert reply.value("ETag") == '"1"'


@both_ways
async def test_the_gate_adds_no_content_type_server_or_date(gated: Gated, way: str) -> None:
    """A browser must not take a body for something else because the gate guessed."""
    reply = await gated.ask(way)
    assert not {"Content-Type", "Server", "Date"} & {name for name, _ in reply.headers}


@both_ways
async def test_an_upstream_cannot_set_our_cookies(gated: Gated, way: str) -> None:
    """Set-Cookie with a name of ours, or for more than its own host, is dropped; others pass in order."""
    gated.upstream.script = answer(
        headers=[
            ("Set-Cookie", "lang=en; Path=/"),
            ("Set-Cookie", "oidcgate=planted; Path=/"),
            ("Set-Cookie", "OIDCGATE-guard=planted"),
            ("Set-Cookie", "wide=1; Domain=.example.com"),
            ("Set-Cookie", "b=2; HttpOnly"),
        ]
    )
    reply = await gated.ask(way)
    assert reply.values("Set-Cookie") == ["lang=en; Path=/", "b=2; HttpOnly"]


@both_ways
async def test_a_location_is_rewritten_only_when_it_names_the_upstream(gated: Gated, way: str) -> None:
    """The upstream's own origin becomes the site's; everything else passes untouched."""
    up = gated.upstream.url
    for given, seen in (
        (f"{up}/a?b#c", f"{gated.url}/a?b#c"),
        (up, gated.url),
        ("/a", "/a"),
        ("./", "./"),
        (f"{up}.evil.example/", f"{up}.evil.example/"),
        (f"{up}1/", f"{up}1/"),
        ("https://elsewhere.example/", "https://elsewhere.example/"),
    ):
        gated.upstream.script = answer(b"", status="302 Found", headers=[("Location", given)])
        assert (await gated.ask(way)).value("Location") == seen


# 1xx, and replies without a body.


@both_ways
@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 10,
    ],
)
async def test_interim_replies_are_dropped(gated: Gated, way: str, interim: bytes) -> None:
    """The browser sees the real reply only, whether it came along or later."""
    for pause in (False, True):

        async def script(link: Link, _arrived: Arrived, pause: bool = pause) -> None:
            await link.send(interim)
            if pause:
                await until(lambda: any(getattr(c.sink, "_interim", 0) for c in links(gated)))
            await link.send(answer(b"real"))

        gated.upstream.script = script
        reply = await gated.ask(way)
        assert (reply.status, reply.body) == (200, b"real")


def links(gated: Gated) -> list:
    """The upstream's connections that replies under way use."""
    writers = [c.writer_of_reply for c in gated.running.connections()]
    return [w.connection for w in writers if w is not None and w.connection is not None]


@both_ways
async def test_interim_replies_without_end_are_refused(gated: Gated, way: str) -> None:
    """Eleven of them: 502."""
    gated.upstream.script = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 11 + answer()
    assert (await gated.ask(way)).status == 502


@both_ways
async def test_an_end_after_an_interim_reply_is_a_broken_reply(gated: Gated, way: str) -> None:
    """A GET is not sent again once the upstream has said something."""

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        link.close()

    gated.upstream.script = script
    assert (await gated.ask(way)).status == 502


@both_ways
@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified"), ("HEAD", "304 Not Modified")],
)
async def test_a_reply_without_a_body_has_none(gated: Gated, way: str, method: str, status: str) -> None:
    """HEAD, 204 and 304: the connection serves the next request, and bytes sent all the same kill it."""
    gated.upstream.script = f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode()
    assert (await gated.ask(way, method=method)).status == int(status[:3])
    assert len(gated.pool.idle) == 1
    gated.upstream.script = f"HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nevil".encode()
    raw = gated.request(method=method)
    async with gated.wire() as wire:
        await gated.prepare(wire, way, raw)
        await wire.send(raw)
        reply = await wire.reply(method)
        assert reply.status == int(status[:3])
        assert reply.value("Content-Length") == ("" if status.startswith("204") else "4")
        await until(lambda: not gated.pool.idle)
        gated.upstream.script = answer(b"next")
        await wire.send(gated.request())
        assert (await wire.reply()).body == b"next"


@both_ways
async def test_a_head_reply_keeps_its_length_and_drops_chunked(gated: Gated, way: str) -> None:
    """Content-Length says what GET would bring; a transfer coding of nothing is not told."""
    gated.upstream.script = b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
    assert (await gated.ask(way, method="HEAD")).value("Content-Length") == "1234"
    gated.upstream.script = CHUNKED
    assert (await gated.ask(way, method="HEAD")).value("Transfer-Encoding") == ""


# The reply's body.


@both_ways
async def test_a_chunked_reply_is_framed_anew(gated: Gated, way: str) -> None:
    """Extensions and trailers are dropped, the data is not touched, and the connection serves again."""
    gated.upstream.script = CHUNKED + b'3;name=value\r\nabc\r\n3 ; q="x"\r\ndef\r\n0;last\r\nX-Trailer: evil\r\n\r\n'
    raw = gated.request()
    async with gated.wire() as wire:
        await gated.send(wire, way, raw)
        head = await wire.reader.readuntil(b"\r\n\r\n")
        body = await wire.reader.readuntil(b"0\r\n\r\n")
    assert head.count(b"Transfer-Encoding: chunked") == 1
    assert b"Trailer" not in head
    assert body == b"6\r\nabcdef\r\n0\r\n\r\n"
    assert len(gated.pool.idle) == 1


@both_ways
async def test_a_chunked_reply_may_come_in_single_bytes(gated: Gated, way: str) -> None:
    """Framing lines and data are found wherever they are cut."""

    async def script(link: Link, _arrived: Arrived) -> None:
        for byte in CHUNKED + chunks(b"abc", b"defg"):
            link.writer.write(bytes((byte,)))
            await asyncio.sleep(0)

    gated.upstream.script = script
    assert (await gated.ask(way)).body == b"abcdefg"


@both_ways
async def test_a_reply_until_the_connection_ends_becomes_chunked(gated: Gated, way: str) -> None:
    """The browser can tell its end."""

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\n\r\nsome ")
        await link.send(b"data")
        link.close()

    gated.upstream.script = script
    reply = await gated.ask(way)
    assert (reply.body, reply.complete) == (b"some data", True)
    assert reply.value("Transfer-Encoding") == "chunked"
    assert len(gated.pool.idle) == 0


@both_ways
async def test_an_http_1_0_upstream_is_understood(gated: Gated, way: str) -> None:
    """Its connection ends with its reply unless it says keep-alive; the browser gets HTTP/1.1."""
    gated.upstream.script = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert (await gated.ask(way)).body == b"ok"
    assert len(gated.pool.idle) == 0
    gated.upstream.script = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\nok"
    assert (await gated.ask(way)).body == b"ok"
    assert len(gated.pool.idle) == 1


@both_ways
@pytest.mark.parametrize(
    ("begin", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", b"12345"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b""),
        (CHUNKED + b"5\r\n12345\r\n", b"12345"),
        (CHUNKED + b"a\r\n12345", b"12345"),
        (CHUNKED + b"5\r\n12345\r\n0\r\n", b"12345"),
        (CHUNKED + b"5\r\n12345\r\nzz\r\n", b"12345"),
        (CHUNKED + b"5\r\n12345678", b"12345"),
    ],
)
@pytest.mark.parametrize("cut", [False, True])
async def test_a_cut_reply_stays_cut(gated: Gated, way: str, begin: bytes, whole: bytes, cut: bool) -> None:
    """No last chunk and no missing byte is made up: the browser sees that its reply is incomplete."""
    went = asyncio.Event()

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.send(begin)
        await went.wait()
        if cut:
            link.abort()
        else:
            link.close()

    gated.upstream.script = script
    async with gated.wire() as wire:
        await gated.send(wire, way, gated.request())
        reply = await wire.head()
        went.set()
        body = await wire.rest()
    assert reply.status == 200
    if b"chunked" in begin:
        assert not body.endswith(b"0\r\n\r\n")
    else:
        assert len(body) < 10
    assert whole.startswith(body.partition(b"\r\n")[2][:5] if b"chunked" in begin else body)


async def test_bytes_that_break_a_chunk_at_once_are_no_complete_reply(gated: Gated) -> None:
    """Head and broken chunk in one segment: the reply breaks off."""
    gated.upstream.script = CHUNKED + b"nonsense\r\n"
    reply = await gated.ask(SLOW)
    assert (reply.status, reply.complete) == (200, False)


@both_ways
async def test_compressed_bodies_pass_as_they_are(gated: Gated, way: str) -> None:
    """Neither side is decompressed, be it good gzip or not, and Accept-Encoding is the browser's own."""
    packed = gzip.compress(b"data" * 100)
    for body in (packed, b"no gzip at all"):
        gated.upstream.script = answer(body, headers=[("Content-Encoding", "gzip")])
        reply = await gated.ask(way, headers=[("Accept-Encoding", "gzip;q=0.5")])
        assert reply.body == body
        assert reply.value("Content-Encoding") == "gzip"
        assert gated.upstream.requests[-1].value("Accept-Encoding") == "gzip;q=0.5"


@both_ways
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_byte_is_not_held_back(gated: Gated, way: str, framing: str) -> None:
    """The second piece is sent only when the browser has seen the first."""
    seen = asyncio.Event()

    async def script(link: Link, _arrived: Arrived) -> None:
        head = {"length": b"Content-Length: 6\r\n", "chunked": b"Transfer-Encoding: chunked\r\n", "close": b""}[framing]
        await link.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        for piece in (b"one", b"two"):
            seen.clear()
            await link.send(chunks(piece, end=b"") if framing == "chunked" else piece)
            await seen.wait()
        if framing == "chunked":
            await link.send(b"0\r\n\r\n")
        link.close()

    gated.upstream.script = script
    async with gated.wire() as wire:
        await gated.send(wire, way, gated.request())
        await wire.head()
        for piece in (b"one", b"two"):
            await wire.reader.readuntil(piece)
            seen.set()


# HTTP/1.0 browsers.


async def test_an_http_1_0_client_gets_no_chunks(gated: Gated) -> None:
    """A reply of unknown length goes to it until the connection ends, even if it asked to stay."""
    for reply_bytes in (CHUNKED + chunks(b"abc", b"def"), b"HTTP/1.1 200 OK\r\n\r\nabcdef"):
        for headers in ([], [("Connection", "keep-alive")]):

            async def script(link: Link, _arrived: Arrived, data: bytes = reply_bytes) -> None:
                await link.send(data)
                link.close()

            gated.upstream.script = script
            reply = await gated.fetch(gated.request(version="HTTP/1.0", headers=headers))
            assert reply.values("Transfer-Encoding") == []
            assert reply.value("Connection") == "close"
            assert reply.body == b"abcdef"
            assert gated.upstream.requests[-1].first_line.endswith(b"HTTP/1.1")


async def test_an_http_1_0_client_may_stay(gated: Gated) -> None:
    """With keep-alive and a known length it sends its next request on the same connection."""
    async with gated.wire() as wire:
        for _ in range(2):
            await wire.send(gated.request(version="HTTP/1.0", headers=[("Connection", "keep-alive")]))
            reply = await wire.reply()
            assert reply.value("Connection") == "keep-alive"
        await wire.send(gated.request(version="HTTP/1.0"))
        assert (await wire.reply()).value("Connection") == "close"
        assert await wire.is_closed()


async def test_an_http_1_0_client_sees_a_cut_reply_as_an_error(gated: Gated) -> None:
    """It has no other sign that something is missing than a reset."""
    went = asyncio.Event()

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.send(CHUNKED + b"5\r\n12345\r\n")
        await went.wait()
        link.abort()

    gated.upstream.script = script
    async with gated.wire() as wire:
        await wire.send(gated.request(version="HTTP/1.0"))
        await wire.head()
        assert await wire.exactly(5) == b"12345"
        went.set()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(wire.reader.read(-1), 15)


# Pipelining, and the end of connections.


async def read_all(wire: Wire, count: int) -> list[Reply]:
    """So many replies."""
    return [await wire.reply() for _ in range(count)]


async def echo_target(link: Link, arrived: Arrived) -> None:
    """Answer with the target."""
    await link.send(answer(arrived.target.encode()))


async def test_pipelined_requests_are_answered_in_order(gated: Gated) -> None:
    """Several in one segment, more than may be queued at once."""
    gated.upstream.script = echo_target
    async with gated.wire() as wire:
        await wire.send(b"".join(gated.request(f"/{n}") for n in range(80)))
        replies = await read_all(wire, 80)
    assert [reply.body.decode() for reply in replies] == [f"/{n}" for n in range(80)]


@both_ways
async def test_what_is_pipelined_behind_a_reply_under_way_waits_for_it(gated: Gated, way: str) -> None:
    """The second request is neither answered first nor sent before the first reply is complete."""
    go_on = asyncio.Event()

    async def script(link: Link, arrived: Arrived) -> None:
        if arrived.target == "/first":
            await go_on.wait()
        await echo_target(link, arrived)

    gated.upstream.script = script
    async with gated.wire() as wire:
        await gated.send(wire, way, gated.request("/first"))
        await gated.upstream.arrived()
        await wire.send(gated.request("/second") + gated.request("/third"))
        connection = gated.running.connections()[0]
        await until(lambda: len(connection._messages) == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(connection._messages) == 2
        assert [a.target for a in gated.upstream.requests] == ["/first"]
        go_on.set()
        replies = await read_all(wire, 3)
        await wire.send(gated.request("/fourth"))
        replies += await read_all(wire, 1)
    assert [reply.body for reply in replies] == [b"/first", b"/second", b"/third", b"/fourth"]


@both_ways
async def test_a_request_cut_in_the_middle_behind_a_reply_under_way(gated: Gated, way: str) -> None:
    """Its first half waits in the parser."""
    go_on = asyncio.Event()

    async def script(link: Link, arrived: Arrived) -> None:
        if arrived.target == "/first":
            await go_on.wait()
        await echo_target(link, arrived)

    gated.upstream.script = script
    second = gated.request("/second")
    async with gated.wire() as wire:
        await gated.send(wire, way, gated.request("/first"))
        await gated.upstream.arrived()
        await wire.send(second[:30])
        go_on.set()
        assert (await wire.reply()).body == b"/first"
        await wire.send(second[30:])
        assert (await wire.reply()).body == b"/second"


@both_ways
async def test_garbage_behind_a_request_under_way_is_answered_after_it(gated: Gated, way: str) -> None:
    """The good request gets its reply, then comes a 400 and the end."""
    go_on = asyncio.Event()

    async def script(link: Link, arrived: Arrived) -> None:
        await go_on.wait()
        await echo_target(link, arrived)

    gated.upstream.script = script
    async with gated.wire() as wire:
        await gated.send(wire, way, gated.request("/first"))
        await gated.upstream.arrived()
        await wire.send(b"\x00\x01garbage\r\n\r\n")
        connection = gated.running.connections()[0]
        await until(lambda: connection._messages)
        go_on.set()
        assert (await wire.reply()).body == b"/first"
        assert (await wire.reply()).status == 400
        assert await wire.is_closed()


async def test_garbage_in_the_same_segment_never_reaches_the_upstream(gated: Gated) -> None:
    """Whatever becomes of the request before it, the connection ends with a 400."""
    async with gated.wire() as wire:
        await wire.send(gated.request("/first") + b"\x00garbage\r\n\r\n" + gated.request("/second"))
        raw = await wire.rest()
    assert b"400 Bad Request" in raw
    assert "/second" not in [a.target for a in gated.upstream.requests]


@both_ways
async def test_a_client_that_says_close_is_closed(gated: Gated, way: str) -> None:
    """Connection: close is obeyed and answered; what follows is not read."""
    raw = gated.request(headers=[("Connection", "close")])
    async with gated.wire() as wire:
        if way == QUICK:
            await wire.send(gated.request())
            await wire.reply()
        await wire.send(raw)
        reply = await wire.reply()
        assert reply.status == 200
        assert reply.value("Connection") == "close"
        assert await wire.is_closed()
    assert "/never" not in [a.target for a in gated.upstream.requests]


@both_ways
async def test_a_browser_that_leaves_ends_the_upstreams_connection(gated: Gated, way: str) -> None:
    """In the middle of a stream, and while the head is awaited."""
    for begin in (b"", CHUNKED + b"5\r\n12345\r\n"):
        left = asyncio.Event()

        async def script(link: Link, _arrived: Arrived, begin: bytes = begin, left: asyncio.Event = left) -> None:
            await link.send(begin)
            assert await link.rest() == b""
            left.set()

        gated.upstream.script = script
        async with gated.wire() as wire:
            await gated.send(wire, way, gated.request())
            await gated.upstream.arrived()
            if begin:
                await wire.head()
        await asyncio.wait_for(left.wait(), 15)
        assert len(gated.pool.idle) == 0


async def test_a_browser_that_left_while_the_upstream_was_dialled_gets_no_request(gated: Gated) -> None:
    """Nothing is sent for nobody, and no stream runs on without a reader."""
    dialled = asyncio.Event()
    go_on = asyncio.Event()
    pools = gated.running.sites[0].pools
    connect = pools.connect

    async def slow_connect(pool: object) -> object:
        connection = await connect(pool)
        dialled.set()
        await go_on.wait()
        return connection

    pools.connect = slow_connect
    try:
        async with gated.wire() as wire:
            await wire.send(gated.request())
            await asyncio.wait_for(dialled.wait(), 15)
            browser = gated.connection(wire)
        await until(lambda: browser.transport is None)
        go_on.set()
        await asyncio.wait_for(gated.upstream.links[-1].ended.wait(), 15)
    finally:
        pools.connect = connect
    assert gated.upstream.requests == []


async def test_what_follows_a_last_request_is_not_answered(gated: Gated) -> None:
    """Bytes behind a request that says close make no second request, in the same segment or later."""
    last, more = gated.request(headers=[("Connection", "close")]), gated.request("/never")
    async with gated.wire() as wire:
        await wire.send(last + more)
        assert (await wire.rest()).count(b"\r\n\r\n") == 1
    async with gated.wire() as wire:
        go_on = asyncio.Event()

        async def script(link: Link, _arrived: Arrived) -> None:
            await go_on.wait()
            await link.send(answer())

        gated.upstream.script = script
        await wire.send(last)
        await gated.upstream.arrived()
        await wire.send(more)
        connection = gated.connection(wire)
        await until(lambda: connection._messages)
        go_on.set()
        assert (await wire.reply()).body == b"ok"
        assert b"200 OK" not in await wire.rest()
    assert "/never" not in [a.target for a in gated.upstream.requests]


@both_ways
async def test_a_session_that_ends_cuts_its_streams(gated: Gated, way: str) -> None:
    """The browser sees a reply that is incomplete, and the upstream the end."""
    left = asyncio.Event()

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.send(CHUNKED + b"5\r\n12345\r\n")
        await link.rest()
        left.set()

    gated.upstream.script = script
    async with gated.wire() as wire:
        await gated.send(wire, way, gated.request())
        await wire.head()
        live = gated.running.sessions.find(gated.handles["alice"].encode())
        await gated.running.sessions.end(live, "a test says so")
        assert not (await wire.rest()).endswith(b"0\r\n\r\n")
    await asyncio.wait_for(left.wait(), 15)


async def test_an_upgrade_to_something_else_is_an_ordinary_request(gated: Gated) -> None:
    """h2c is not passed on; the connection closes, and what follows in the segment never becomes a request."""
    gated.upstream.script = echo_target
    for upgrade in ("h2c", "TLS/1.0", "websockets", "h2c, websocket"):
        raw = gated.request(
            "/plain",
            headers=[("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", upgrade), ("HTTP2-Settings", "AAMAAABk")],
        )
        rest = gated.request("/smuggled")
        for cut in (0, 1, 40, len(rest)):
            async with gated.wire() as wire:
                await wire.send(raw + rest[:cut])
                reply = await wire.reply()
                assert (reply.status, reply.body) == (200, b"/plain")
                assert reply.value("Connection") == "close"
                await wire.send(rest[cut:])
                assert await wire.is_closed()
        arrived = gated.upstream.requests[-1]
        assert arrived.values("Upgrade") == arrived.values("Connection") == arrived.values("HTTP2-Settings") == []
    assert {a.target for a in gated.upstream.requests} == {"/plain"}


@both_ways
async def test_a_reply_for_a_connection_that_is_being_closed_goes_nowhere(gated: Gated, way: str) -> None:
    """What still comes from the upstream is dropped, and its connection ends."""
    go_on = asyncio.Event()

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.send(CHUNKED + b"5\r\n12345\r\n")
        await go_on.wait()
        await link.send(b"5\r\n67890\r\n")
        await link.rest()

    gated.upstream.script = script
    async with gated.wire() as wire:
        await gated.send(wire, way, gated.request())
        await wire.head()
        browser = gated.connection(wire)
        assert "200" in repr(browser.writer_of_reply)
        go_on.set()
        browser.force_close()
        browser.writer_of_reply.upstream_data(b"1\r\nx\r\n")
        assert await wire.rest() == b"5\r\n12345\r\n"
    await asyncio.wait_for(gated.upstream.links[-1].ended.wait(), 15)
