"""Connections to the upstream: silence while idle, one retry, dialling, TLS."""

import asyncio
import datetime
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from oidcgate.config.model import Upstream
from oidcgate.errors import UpstreamTimeout, UpstreamUnreachable
from oidcgate.net import upstream as upstream_module
from oidcgate.net.upstream import LONGEST_IDLE, MOST_IDLE, Pool, UpstreamPools, parse_address
from tests.support.upstream import QUICK, SLOW, WAYS, Arrived, Gated, Link, ScriptedUpstream, answer, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

both_ways = pytest.mark.parametrize("way", WAYS)


async def tell_target(link: Link, arrived: Arrived) -> None:
    """Answer with the target."""
    await link.send(answer(arrived.target.encode()))


# An idle connection is silent.


@pytest.mark.parametrize(
    "late",
    [
        answer(b"somebody else's"),
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"\r\n",
        b"x",
    ],
)
async def test_what_an_idle_connection_says_reaches_nobody(gated: Gated, late: bytes) -> None:
    """A late second reply kills the connection; the next person gets their own reply on another."""
    gated.upstream.script = tell_target
    await gated.ask(SLOW, "/first", who="alice")
    link = gated.upstream.links[-1]
    assert len(gated.pool.idle) == 1
    await link.send(late)
    await asyncio.wait_for(link.ended.wait(), 15)
    assert len(gated.pool.idle) == 0
    async with gated.wire() as wire:
        for target in ("/one", "/two"):
            await wire.send(gated.request(target, who="bob"))
            assert (await wire.reply()).body == target.encode()
    assert gated.upstream.requests[-1].link is not link
    assert gated.upstream.requests[-1].value("Authorization") == gated.bearer("bob")


@both_ways
@pytest.mark.parametrize(
    "reply",
    [
        answer(b"/first") + answer(b"poison"),
        answer(b"/first") + b"p",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n/first\r\n0\r\n\r\n" + answer(b"poison"),
        b"HTTP/1.1 204 No Content\r\n\r\n" + answer(b"poison"),
        b"HTTP/1.1 304 Not Modified\r\n\r\npoison",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + answer(b"poison"),
    ],
)
async def test_bytes_behind_a_reply_kill_the_connection(gated: Gated, way: str, reply: bytes) -> None:
    """Two replies to one request: the second is nobody's, be it the same person's next request or another's."""
    gated.upstream.script = reply
    raw = gated.request("/first")
    async with gated.wire() as wire:
        await gated.prepare(wire, way, raw)
        await wire.send(raw)
        assert b"poison" not in (await wire.reply()).body
        assert len(gated.pool.idle) == 0
        gated.upstream.script = tell_target
        await wire.send(gated.request("/second"))
        assert (await wire.reply()).body == b"/second"
    assert (await gated.ask(way, "/third", who="bob")).body == b"/third"


async def test_bytes_that_wait_unread_count_as_spoken(gated: Gated) -> None:
    """A late reply that has arrived but was not looked at yet is not taken for the next person's."""
    gated.upstream.script = tell_target
    async with gated.wire() as wire:
        raw = gated.request("/bobs", who="bob")
        await gated.prepare(wire, QUICK, raw)
        link = gated.upstream.links[-1]
        # Nothing runs between these two: the gate hears the browser first and then the upstream.
        wire.writer.write(raw)
        link.writer.write(answer(b"poison"))
        assert (await wire.reply()).body == b"/bobs"
    assert gated.upstream.requests[-1].link is not link


@both_ways
async def test_a_reply_that_says_close_ends_the_connection(gated: Gated, way: str) -> None:
    """It is not used again, and the browser's stays open."""
    gated.upstream.script = answer(headers=[("Connection", "close")])
    reply = await gated.ask(way)
    assert reply.value("Connection") == ""
    assert len(gated.pool.idle) == 0


# One retry.


@both_ways
async def test_a_stale_connection_is_replaced_once(gated: Gated, way: str) -> None:
    """A pooled connection that dies before a byte of its reply: a GET is sent again on a new one, unnoticed."""

    async def script(link: Link, arrived: Arrived) -> None:
        if link is first:
            link.abort()
        else:
            await tell_target(link, arrived)

    await gated.ask(SLOW, "/warm-up")
    first = gated.upstream.links[-1]
    gated.upstream.script = script
    reply = await gated.ask(way, "/again")
    assert (reply.status, reply.body) == (200, b"/again")
    assert [a.target for a in gated.upstream.requests] == ["/warm-up", "/again", "/again"]


async def test_a_stale_connection_on_the_quick_way_is_told_to_the_slow_one(gated: Gated) -> None:
    """Even when every pooled connection is dead the request arrives on a fresh one."""
    gated.upstream.script = tell_target
    async with gated.wire() as one, gated.wire() as two:
        hold = asyncio.Event()

        async def both(link: Link, arrived: Arrived) -> None:
            await hold.wait()
            await tell_target(link, arrived)

        gated.upstream.script = both
        for wire in (one, two):
            await wire.send(gated.request("/x"))
            await gated.upstream.arrived()
        hold.set()
        for wire in (one, two):
            await wire.reply()
        assert len(gated.pool.idle) == 2
        old = gated.upstream.links[-2:]

        async def die(link: Link, arrived: Arrived) -> None:
            if link in old:
                link.abort()
            else:
                await tell_target(link, arrived)

        gated.upstream.script = die
        await until(gated.connection(one)._is_idle)
        before = gated.taken
        await one.send(gated.request("/again"))
        assert (await one.reply()).body == b"/again"
        assert gated.taken == before + 1
    assert [a.target for a in gated.upstream.requests].count("/again") == 3


@pytest.mark.parametrize(("method", "body"), [("POST", b"x"), ("PUT", b"x"), ("DELETE", b""), ("GET", b"x")])
async def test_what_may_not_be_repeated_is_not(gated: Gated, method: str, body: bytes) -> None:
    """A method that acts, or a body that is gone: 502, and one try."""

    async def script(link: Link, _arrived: Arrived) -> None:
        link.abort()

    await gated.ask(SLOW, "/warm-up")
    gated.upstream.script = script
    raw = gated.request("/act", method=method, headers=[("Origin", gated.url)], body=body)
    assert (await gated.fetch(raw)).status == 502
    assert [a.target for a in gated.upstream.requests] == ["/warm-up", "/act"]


async def test_a_new_connection_that_dies_is_no_reason_to_try_again(gated: Gated) -> None:
    """An upstream that hangs up on a fresh connection has heard the request: 502 after one try."""

    async def script(link: Link, _arrived: Arrived) -> None:
        link.close()

    gated.upstream.script = script
    assert (await gated.ask(SLOW)).status == 502
    assert len(gated.upstream.requests) == 1


@both_ways
async def test_a_reply_that_has_begun_is_not_asked_for_again(gated: Gated, way: str) -> None:
    """Half a head on a pooled connection: 502 after one try."""

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\nX-")
        link.close()

    gated.upstream.script = script
    assert (await gated.ask(way)).status == 502
    assert len(gated.upstream.requests) == 1


# Nobody there, nobody answering.


@both_ways
async def test_a_slow_head_is_given_up(gated: Gated, way: str) -> None:
    """504 after the head's time, and the connection is not used again; on either way one try."""
    gone = asyncio.Event()

    async def script(link: Link, _arrived: Arrived) -> None:
        assert await link.rest() == b""
        gone.set()

    gated.upstream.script = script
    async with gated.wire() as wire:
        await gated.send(wire, way, gated.request())
        await gated.upstream.arrived()
        browser, now = gated.connection(wire), asyncio.get_running_loop().time()
        browser.sweep(now + 29, 15)
        assert not browser.writer_of_reply.is_done
        browser.sweep(now + 31, 15)
        reply = await wire.reply()
    assert reply.status == 504
    assert b"upstream_timeout" in reply.body
    await asyncio.wait_for(gone.wait(), 15)
    assert len(gated.upstream.requests) == 1


@both_ways
async def test_a_silent_stream_is_given_up(gated: Gated, way: str) -> None:
    """No byte for the idle limit: the reply breaks off."""

    async def script(link: Link, _arrived: Arrived) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await link.rest()

    gated.upstream.script = script
    async with gated.wire() as wire:
        await gated.send(wire, way, gated.request())
        await wire.head()
        browser, now = gated.connection(wire), asyncio.get_running_loop().time()
        browser.sweep(now + 3599, 15)
        assert not browser.writer_of_reply.is_done
        browser.sweep(now + 3601, 15)
        assert await wire.rest() == b"1\r\na\r\n"


async def test_an_upstream_that_is_not_there(gated: Gated) -> None:
    """502 for a script, a page for a person; back again it serves at once."""
    await gated.upstream.stop()
    gated.forget_connections()
    reply = await gated.fetch(gated.request())
    assert (reply.status, reply.value("Content-Type")) == (502, "application/json; charset=utf-8")
    assert b"upstream_unreachable" in reply.body
    page = await gated.fetch(
        gated.request(
            headers=[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Sec-Fetch-Site", "none")]
        )
    )
    assert page.status == 502
    assert "text/html" in page.value("Content-Type")
    await gated.upstream.start()
    assert (await gated.fetch(gated.request())).status == 200


async def test_an_upstream_that_is_gone_when_it_was_dialled(gated: Gated) -> None:
    """502: the request could not be sent, and was not tried elsewhere."""
    pools = gated.running.sites[0].pools
    connect = pools.connect

    async def lost(pool: object) -> object:
        connection = await connect(pool)
        connection.transport.abort()
        await until(lambda: connection.transport is None)
        return connection

    pools.connect = lost
    try:
        assert (await gated.fetch(gated.request())).status == 502
    finally:
        pools.connect = connect
    assert gated.upstream.requests == []


async def test_a_token_that_runs_out_while_the_upstream_is_dialled_is_not_sent(
    gated: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, to be asked again in a moment; nothing reaches the upstream."""

    class MuchLater:
        """A clock that the last look at the session alone uses."""

        @staticmethod
        def time() -> float:
            return time.time() + 10**6

    monkeypatch.setattr("oidcgate.web.live.time", MuchLater)
    reply = await gated.fetch(gated.request())
    assert (reply.status, reply.value("Retry-After")) == (503, "5")
    await until(lambda: all(link.ended.is_set() for link in gated.upstream.links))
    assert gated.upstream.requests == []


# The pool.


def pool_of(url: str, **options: Any) -> UpstreamPools:
    """Pools for an address."""
    return UpstreamPools(Upstream(url=url, **options))


async def connections(pool: Pool, count: int) -> list:
    """So many connections."""
    return [await pool.connect() for _ in range(count)]


async def test_idle_connections_are_bounded_and_swept(gated: Gated) -> None:
    """No more are kept than the pool's bound, and none for longer than its limit."""
    pools = pool_of(gated.upstream.url)
    pool = pools.pools[0]
    kept = await connections(pool, MOST_IDLE + 1)
    for n, connection in enumerate(kept):
        connection.release(float(n))
    assert len(pool.idle) == MOST_IDLE
    assert kept[-1].transport is None
    pools.sweep(LONGEST_IDLE + 10.5)
    assert len(pool.idle) == MOST_IDLE - 11
    assert repr(pool) == f"<Pool {gated.upstream.url} {MOST_IDLE - 11} idle>"
    assert pool.take() is kept[-2]
    pools.close()
    kept[-2].abort()
    assert pool.take() is None
    assert "closed" in repr(kept[-2])


async def test_a_closing_connection_is_neither_taken_nor_kept(gated: Gated) -> None:
    """What is on its way out serves nobody."""
    pool = pool_of(gated.upstream.url).pools[0]
    one, two = await connections(pool, 2)
    one.release(0.0)
    assert "idle" in repr(one)
    one.transport.close()
    assert pool.take() is None
    two.transport.close()
    two.release(0.0, resume=True)
    assert pool.idle == []
    await until(lambda: one.transport is None)
    one.write(b"for nobody")
    one.release(0.0)
    one.abort()


async def test_a_dial_that_takes_too_long_is_given_up() -> None:
    """504: the address is there but does not answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        pool = pool_of(f"http://127.0.0.1:{port}", connect_timeout="10ms").pools[0]
        try:
            with pytest.raises(UpstreamTimeout):
                await pool.connect()
        finally:
            for filler in fillers:
                filler.close()


async def test_a_replica_that_is_down_is_passed_over(gated: Gated) -> None:
    """Somebody's requests go to one replica while it answers, else to the next; with none there, the error says so."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    pools = UpstreamPools(Upstream(url=(dead, gated.upstream.url)))
    handles = [bytes((n,)) * 43 for n in range(8)]
    assert {pools.for_handle(h) for h in handles} == set(pools.pools)
    assert pools.for_handle(handles[0]) is pools.for_handle(handles[0])
    connection = await pools.connect(pools.pools[0])
    assert connection.pool is pools.pools[1]
    connection.abort()
    with pytest.raises(UpstreamUnreachable):
        await pool_of(dead).pools[0].connect()
    both = UpstreamPools(Upstream(url=(dead, dead)))
    with pytest.raises(UpstreamUnreachable):
        await both.connect(both.pools[1])


HANDLES = [bytes((n, n)) * 22 for n in range(60)]


async def test_a_further_replica_moves_only_its_own() -> None:
    """Those that are not the new one's stay where they are, in every process."""
    urls = tuple(f"http://127.0.0.1:{port}" for port in (1, 2, 3))
    before, after = UpstreamPools(Upstream(url=urls[:2])), UpstreamPools(Upstream(url=urls))
    moved = [h for h in HANDLES if before.for_handle(h).address != after.for_handle(h).address]
    assert 5 < len(moved) < 35
    assert {after.for_handle(h).address.port for h in moved} == {3}


async def test_a_replica_that_is_down_is_left_alone_for_a_while(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its people go elsewhere, all at once and all back; who asks is told when that changes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    pools, changes = UpstreamPools(Upstream(url=(dead, gated.upstream.url))), []
    pools.on_change = lambda: changes.append(len(changes))
    (await pools.connect(pools.pools[0])).abort()
    assert {pools.for_handle(h) for h in HANDLES} == {pools.pools[1]}
    assert changes == [0]
    now = asyncio.get_running_loop().time()
    await pools.look_again(now)
    assert changes == [0]
    await pools.look_again(now + upstream_module.DOWN_FOR + 1)
    assert changes == [0, 1]
    assert {pools.for_handle(h) for h in HANDLES} == set(pools.pools)
    only = pool_of(dead)
    with pytest.raises(UpstreamUnreachable):
        await only.connect(only.pools[0])
    assert only.pools[0].down_until == 0.0  # where there is no other, there is nothing to prefer


async def test_replicas_by_dns(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address that the name has is a replica; certificates and Host go by the name; a failure changes nothing."""
    port = int(gated.upstream.url.rpartition(":")[2])
    pools, changes = pool_of(f"http://ui.example:{port}", resolve_every="5s"), []
    pools.on_change = lambda: changes.append(1)
    said: list[Any] = [["10.0.0.1", "127.0.0.1", "127.0.0.1"], ["127.0.0.1", "::1"], OSError("no such name")]

    async def getaddrinfo(host: str, asked: int, **_: object) -> list[Any]:
        assert (host, asked) == ("ui.example", port)
        answer = said.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return [(None, None, None, "", (address, port)) for address in answer]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    await pools.look_again(100.0)
    assert [pool.address.host for pool in pools.pools] == ["10.0.0.1", "127.0.0.1"]
    assert {pool.address.server_name for pool in pools.pools} == {"ui.example"}
    assert {pool.host_line for pool in pools.pools} == {f"Host: ui.example:{port}\r\n".encode()}
    stays = pools.pools[1]
    await pools.look_again(104.0)
    assert len(said) == 2
    await pools.look_again(105.0)
    assert [pool.address.host for pool in pools.pools] == ["127.0.0.1", "::1"]
    assert pools.pools[0] is stays
    await pools.look_again(110.0)
    assert len(changes) == 2
    assert [pool.address.host for pool in pools.pools] == ["127.0.0.1", "::1"]


async def test_addresses() -> None:
    """Host, port, scheme and path of an upstream's address, and how it names itself."""
    assert str(parse_address("https://ui.example")) == "https://ui.example"
    assert parse_address("https://ui.example").port == 443
    assert parse_address("http://[::1]:8080").host == "::1"
    assert str(parse_address("unix:/run/ui.sock")) == "unix:/run/ui.sock"
    assert pool_of("unix:/run/ui.sock").origins == ()


# TLS and Unix sockets.


def certificate(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for these names: its file, and a server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's upstream")])
    alternatives: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names
    ]
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.touch(0o600)
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.load_cert_chain(cert_file, key_file)
    return cert_file, context


@asynccontextmanager
async def secure_upstream(folder: Path, *names: str) -> AsyncIterator[tuple[ScriptedUpstream, str]]:
    """An https upstream with a certificate for these names, and that certificate's file."""
    cert_file, context = certificate(folder, *names)
    upstream = ScriptedUpstream(tls=context)
    await upstream.start()
    try:
        yield upstream, str(cert_file)
    finally:
        await upstream.stop()


@pytest.mark.parametrize(
    ("names", "options", "good"),
    [
        (("localhost",), {"ca_file": True}, True),
        (("localhost",), {}, False),
        (("elsewhere.example",), {"ca_file": True}, False),
        (("elsewhere.example",), {"ca_file": True, "server_name": "elsewhere.example"}, True),
        (("localhost",), {"ca_file": True, "server_name": "elsewhere.example"}, False),
        (("elsewhere.example",), {"insecure_skip_verify": True}, True),
    ],
    ids=["known", "unknown", "wrong name", "server name", "wrong server name", "not verified"],
)
async def test_an_upstreams_certificate(tmp_path: Path, names: tuple[str, ...], options: dict, good: bool) -> None:
    """It must verify for the configured name, unless the switch says that it need not."""
    async with secure_upstream(tmp_path, *names) as (upstream, cert_file):
        if options.get("ca_file"):
            options = {**options, "ca_file": cert_file}
        pools = pool_of(upstream.url, **options)
        if good:
            connection = await pools.connect(pools.pools[0])
            assert connection.transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            connection.transport.close()
            await until(lambda: connection.transport is None)
        else:
            with pytest.raises(UpstreamUnreachable):
                await pools.connect(pools.pools[0])


async def test_requests_over_tls_both_sides(tmp_path: Path) -> None:
    """An https upstream behind an https listener: the same on both ways, and http/1.1 is all that is offered."""
    async with secure_upstream(tmp_path, "localhost") as (upstream, cert_file):
        await upstream.stop()
        async with Gated(upstream=upstream, site={"upstream": {"ca_file": cert_file}}) as gated:
            upstream.script = tell_target
            for way in WAYS:
                reply = await gated.ask(way, "/secret")
                assert reply.body == b"/secret"
            assert gated.upstream.requests[-1].value("Authorization") == gated.bearer()


async def test_an_upstream_behind_a_unix_socket(tmp_path: Path) -> None:
    """Its Host is localhost, and both ways lead there."""
    async with Gated(upstream=ScriptedUpstream(path=tmp_path / "ui.sock")) as gated:
        gated.upstream.script = tell_target
        for way in (SLOW, QUICK):
            assert (await gated.ask(way, "/here")).body == b"/here"
        assert gated.upstream.requests[-1].value("Host") == "localhost"
