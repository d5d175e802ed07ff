"""The master: real processes that die, are replaced, reload and drain, and nobody who uses the gate notices."""

import asyncio
import os
import re
import signal
import socket
import ssl
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from oidcgate.cli.secret import new_key
from oidcgate.config.load import load_config
from oidcgate.config.model import Config
from oidcgate.errors import ConfigError, OidcgateError, StoreUnavailable
from oidcgate.web import master as master_module
from oidcgate.web.master import Child, Master, file_stamps, worker_count
from oidcgate.web.sessionpage import ENDED_BY_ADMIN
from tests.support.browser import Browser
from tests.support.fleet import AUTHORITY, Fleet, Replica
from tests.support.raw import Reply, connect, fetch, request
from tests.web.test_sessions import closed_with

LIMIT = 30.0  # seconds after which a test is stuck
REPORT = re.compile(rb"reloaded;|reload refused")  # what a reload comes to
PUBLIC = {"rules": [{"path": "/*", "public": True}]}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that other processes bring about by and by."""
    async with asyncio.timeout(LIMIT):
        while not await condition():
            await asyncio.sleep(0.02)


async def gone(processes: list[psutil.Process]) -> None:
    """Wait for processes to end; zombies have."""

    async def are_gone() -> bool:
        return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)

    async with asyncio.timeout(LIMIT):
        while True:
            try:
                if await are_gone():
                    return
            except psutil.NoSuchProcess:
                continue
            await asyncio.sleep(0.02)


async def probe(replica: Replica, path: str, method: str = "GET", **headers: str) -> Reply:
    """Ask the master's admin listener."""
    return await fetch(replica.admin, request(path, method=method, host="127.0.0.1", headers=headers))


async def figures(replica: Replica) -> dict[str, float]:
    """The metrics; series of a name are added up."""
    text = (await probe(replica, "/metrics")).text
    found: dict[str, float] = Counter()
    for line in text.splitlines():
        if line[0] != "#":
            series, _, value = line.rpartition(" ")
            found[series.partition("{")[0]] += float(value)
    return found


async def workers(replica: Replica, count: int) -> None:
    """Wait until so many workers serve."""

    async def are_there() -> bool:
        return (await figures(replica))["oidcgate_workers"] == count == len(replica.workers())

    await until(are_there)


async def answers(port: int) -> int:
    """What a stranger gets there."""
    return (await fetch(port, request("/api/v1/me", host=AUTHORITY))).status


async def reload(fleet: Fleet, **changes: Any) -> bytes:
    """Change the configuration, and tell the master; what it says of it."""
    (replica,) = fleet.replicas
    fleet.write_config(0, **changes)
    return await hangup(replica)


async def hangup(replica: Replica) -> bytes:
    """Tell the master that its configuration has changed; what it says of it."""
    before = len(replica.said)
    replica.process.send_signal(signal.SIGHUP)
    return await replica.hear(REPORT, after=before)


def site(fleet: Fleet, **more: Any) -> dict[str, Any]:
    """The fleet's site with something changed."""
    return {"sites": [{"url": fleet.url, "upstream": {"url": fleet._upstream}, **more}]}


@asynccontextmanager
async def websocket(browser: Browser, port: int) -> AsyncIterator[Any]:
    """A terminal's websocket at a port."""
    wire = await connect(port)
    headers = {
        "Cookie": browser.cookie_header(f"http://{AUTHORITY}"),
        "Origin": f"http://{AUTHORITY}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    await wire.send(request("/api/sockjs/000/abcdefgh/websocket", host=AUTHORITY, headers=headers))
    assert (await wire.head()).status == 101
    try:
        yield wire
    finally:
        await wire.close()


async def run_out(config: Path) -> tuple[int, str]:
    """A gate that is expected to end at once: its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "oidcgate", "serve", "--config", str(config), stdout=PIPE, stderr=STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), LIMIT)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode()


# Workers


async def test_workers_are_one_gate() -> None:
    """A session is good in each; readiness speaks for all, figures add up, and /sessions tells and ends."""
    async with Fleet() as fleet:
        (replica,) = fleet.replicas
        token = fleet.folder / "token"
        token.touch(0o600)
        token.write_text("an-admin-token")
        before, old = len(replica.said), replica.workers()
        assert b"reloaded" in await reload(fleet, admin={"listen": "127.0.0.1:0", "token_file": str(token)})
        await gone(old)
        heard = await replica.hear(b"admin on 127.0.0.1:", after=before)
        replica.admin = int(heard.rpartition(b"127.0.0.1:")[2].partition(b'"')[0])
        browser = await fleet.browser()
        for _ in range(20):  # each on a connection of its own: the kernel spreads them
            assert (await browser.fetch(f"{fleet.url}/api/v1/me")).status == 200
        reply = await probe(replica, "/readyz")
        assert (reply.status, reply.text) == (200, "provider: ok\nkeys: ok\nstore: ok\n")
        counted = await figures(replica)
        assert counted["oidcgate_workers"] == 2
        assert counted["oidcgate_requests_total"] >= 24
        assert (await probe(replica, "/sessions")).status == 401
        bearer = {"Authorization": "Bearer an-admin-token"}
        rows = (await probe(replica, "/sessions", **bearer)).text
        assert "alice@example.com" in rows
        name = rows.partition('"session": "')[2][:16]
        async with websocket(browser, replica.port) as wire:
            assert (await probe(replica, f"/sessions/{name}", "DELETE", **bearer)).status == 200
            assert await closed_with(wire) == (4001, f"Session ended: {ENDED_BY_ADMIN}")
        assert (await probe(replica, f"/sessions/{name}", "DELETE", **bearer)).status == 404

        async def is_over() -> bool:
            return {(await browser.fetch(f"{fleet.url}/api/v1/me")).status for _ in range(8)} == {401}

        await until(is_over)  # the other worker hears of it, too
        assert fleet.issuer.calls["token"] == 1


async def test_a_killed_worker_is_replaced() -> None:
    """And again, when its successor is killed at once; nobody is signed out."""
    async with Fleet() as fleet:
        (replica,) = fleet.replicas
        browser = await fleet.browser()
        for _ in range(3):
            before = len(replica.said)
            victim = max(replica.workers(), key=lambda worker: worker.create_time())
            victim.send_signal(signal.SIGKILL)
            await replica.hear(b"died with -9; starting another", after=before)
            await workers(replica, 2)
        for _ in range(10):
            assert (await browser.fetch(f"{fleet.url}/api/v1/me")).status == 200
        assert (await probe(replica, "/readyz")).status == 200


async def test_a_worker_that_cannot_be_started_yet() -> None:
    """It is tried again, ever more slowly, until what is missing is back; the others serve on."""
    async with Fleet() as fleet:
        (replica,) = fleet.replicas
        keys, aside = fleet.folder / "keys", fleet.folder / "aside"
        keys.rename(aside)
        replica.workers()[0].send_signal(signal.SIGKILL)
        await replica.hear(b"a worker could not be started")
        assert (await figures(replica))["oidcgate_workers"] == 1
        aside.rename(keys)
        await workers(replica, 2)
        assert await answers(replica.port) == 401


async def test_a_worker_that_hangs_shows() -> None:
    """Readiness tells; it is back when the worker is."""
    async with Fleet() as fleet:
        (replica,) = fleet.replicas
        worker = replica.workers()[0]
        worker.suspend()
        try:
            reply = await probe(replica, "/readyz")
            assert reply.status == 503
            assert "worker: does not answer\n" in reply.text
        finally:
            worker.resume()
        assert (await probe(replica, "/readyz")).status == 200


async def test_as_many_as_the_machine_has_processors() -> None:
    """``workers: auto`` counts those that this process may use."""
    async with Fleet(config={"workers": "auto"}) as fleet:
        (replica,) = fleet.replicas
        assert len(replica.workers()) == len(os.sched_getaffinity(0))
        assert (await figures(replica))["oidcgate_workers"] == len(os.sched_getaffinity(0))


# Reload


async def test_a_reload_takes_over() -> None:
    """The new configuration counts, sessions and open websockets go on, and the old workers leave."""
    async with Fleet() as fleet:
        (replica,) = fleet.replicas
        browser = await fleet.browser("bob")
        old = replica.workers()
        assert b"reloaded" in await reload(fleet, **site(fleet, access={"groups": ["platform-admins"]}))
        await gone(old)
        for _ in range(10):
            assert (await browser.fetch(f"{fleet.url}/api/v1/me")).status == 403
        young = replica.workers()
        assert len(young) == 2
        assert not set(young) & set(old)
        assert b"reloaded" in await reload(fleet)
        await gone(young)
        assert (await browser.fetch(f"{fleet.url}/api/v1/me")).status == 200
        assert fleet.issuer.calls["token"] == 1


async def test_two_reloads_at_once() -> None:
    """One after the other; the last one's configuration is what counts, and no worker is left over."""
    async with Fleet() as fleet:
        (replica,) = fleet.replicas
        old = replica.workers()
        before = len(replica.said)
        for groups in (["a"], ["b"], ["platform-admins"]):
            fleet.write_config(0, **site(fleet, access={"groups": groups}))
            replica.process.send_signal(signal.SIGHUP)
            await asyncio.sleep(0)

        async def reported() -> bool:
            return sum(b"reloaded;" in line for line in replica.said[before:]) >= 1

        await until(reported)
        assert b"reloaded" in await hangup(replica)
        await gone(old)
        await workers(replica, 2)
        browser = await fleet.browser()
        assert (await browser.fetch(f"{fleet.url}/api/v1/me")).status == 200


BAD: list[tuple[dict[str, Any], bytes]] = [
    ({"workers": "many"}, b"workers"),
    ({"workers": 2, "session": {"store": "memory"}}, b"memory store"),
    ({"session": {"keys_file": "/nowhere/keys"}}, b"/nowhere/keys"),
    ({"session": {"store": "sqlite:/dev/null/x"}}, b"sqlite: "),
    ({"listen": ["127.0.0.1:0", "192.0.2.1:80"]}, b"listen: 192.0.2.1:80"),
    ({"admin": {"listen": "192.0.2.1:80"}}, b"admin.listen: 192.0.2.1:80"),
]


async def test_a_bad_configuration_changes_nothing() -> None:
    """What is wrong is said, and the old one goes on, with the same workers and listeners; then a good one counts."""
    async with Fleet(workers=1) as fleet:
        (replica,) = fleet.replicas
        old = replica.workers()
        for changes, said in BAD:
            heard = await reload(fleet, **changes)
            assert b"reload refused" in heard
            assert said in heard
            assert replica.workers() == old
            assert await answers(replica.port) == 401
            assert (await probe(replica, "/readyz")).status == 200
        assert b"reloaded" in await reload(fleet)
        await gone(old)
        assert await answers(replica.port) == 401


async def test_a_refused_reload_leaves_no_address_open(tmp_path: Path) -> None:
    """Nobody would answer there."""
    async with Fleet(workers=1) as fleet:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        missing = {"cert_file": str(tmp_path / "a.pem"), "key_file": str(tmp_path / "b.pem")}
        heard = await reload(fleet, listen=["127.0.0.1:0", f"127.0.0.1:{port}"], tls=missing)
        assert b"reload refused" in heard
        with pytest.raises(ConnectionRefusedError):
            await connect(port)


async def test_another_address() -> None:
    """The new one is served, the old one is given up, and one that stays is never closed."""
    async with Fleet() as fleet:
        (replica,) = fleet.replicas
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        old = replica.workers()
        assert b"reloaded" in await reload(fleet, listen=["127.0.0.1:0", f"127.0.0.1:{port}"])
        assert [await answers(number) for number in (replica.port, port)] == [401, 401]
        assert b"reloaded" in await reload(fleet, listen=[f"127.0.0.1:{port}"])
        await gone(old)

        async def is_refused() -> bool:
            try:
                await (await connect(replica.port)).close()
            except ConnectionRefusedError:
                return True
            return False

        await until(is_refused)
        assert [await answers(port) for _ in range(10)] == [401] * 10


async def test_more_and_fewer_workers() -> None:
    """Whatever the number was before: every connection finds somebody who answers."""
    async with Fleet(workers=1) as fleet:
        (replica,) = fleet.replicas
        for count in (3, 1, 2):
            old = replica.workers()
            assert b"reloaded" in await reload(fleet, workers=count)
            await gone(old)
            await workers(replica, count)
            assert [await answers(replica.port) for _ in range(30)] == [401] * 30


async def test_the_admin_listener_moves(tmp_path: Path) -> None:
    """To a socket, to nowhere, and back."""
    async with Fleet(workers=1) as fleet:
        (replica,) = fleet.replicas
        path = tmp_path / "admin.sock"
        for _ in range(2):
            assert b"reloaded" in await reload(fleet, admin={"listen": f"unix:{path}"})
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b"store: ok" in await reader.read()
            writer.close()
            await writer.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await probe(replica, "/readyz")
        fleet.write_config(0)
        text = replica.config.read_text()
        without = "\n".join(line for line in text.splitlines() if not line.startswith(("admin:", "  listen: 127")))
        replica.config.write_text(without + "\nadmin: null\n")
        assert b"reloaded" in await hangup(replica)
        with pytest.raises(OSError):
            await asyncio.open_unix_connection(path)
        assert await answers(replica.port) == 401
        before = len(replica.said)
        assert b"reloaded" in await reload(fleet)
        assert await replica.hear(b"admin on 127.0.0.1:", after=before)


# Files that change


async def test_keys_that_change() -> None:
    """A new first key is taken up by itself, and nobody is signed out; a key that is gone signs out."""
    async with Fleet() as fleet:
        (replica,) = fleet.replicas
        browser = await fleet.browser()
        keys = fleet.folder / "keys"
        old, new = keys.read_text(), new_key() + "\n"
        keys.write_text(new + old)
        await replica.hear(b"a certificate or key changed on disk")
        await replica.hear(b"reloaded;")
        later = await fleet.browser()
        for _ in range(8):
            for each in (browser, later):
                assert (await each.fetch(f"{fleet.url}/api/v1/me")).status == 200
        assert fleet.issuer.calls["token"] == 2
        before, processes = len(replica.said), replica.workers()
        keys.write_text(new)
        await replica.hear(b"reloaded;", after=before)
        await gone(processes)
        assert {(await browser.fetch(f"{fleet.url}/api/v1/me")).status for _ in range(8)} == {401}
        assert (await later.fetch(f"{fleet.url}/oauth2/userinfo")).status in (200, 401)
        assert (await browser.sign_in(f"{fleet.url}/")).status == 200


def certificate(folder: Path, name: str) -> tuple[bytes, bytes, bytes]:
    """A self-signed certificate, its key, and the certificate as it is on the wire."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM), private, made.public_bytes(Encoding.DER)


async def shown(port: int) -> bytes:
    """The certificate that a port shows."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.write(request("/oauth2/userinfo", host=AUTHORITY, headers={"Connection": "close"}))
    assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
    writer.close()
    await writer.wait_closed()
    return found


async def test_a_certificate_that_changes(tmp_path: Path) -> None:
    """A renewed one is shown by itself; between the writing of its two files the old one is."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    first, second = certificate(tmp_path, "first"), certificate(tmp_path, "second")
    cert.write_bytes(first[0])
    key.touch(0o600)
    key.write_bytes(first[1])
    config = {
        "tls": {"cert_file": str(cert), "key_file": str(key)},
        "sites": [{"url": f"https://{AUTHORITY}", "upstream": {"url": "http://127.0.0.1:9"}}],
    }
    async with Fleet(workers=1, upstream="http://127.0.0.1:9", config=config) as fleet:
        (replica,) = fleet.replicas
        assert await shown(replica.port) == first[2]
        cert.write_bytes(second[0])
        assert b"tls.cert_file" in await replica.hear(b"reload refused")
        assert await shown(replica.port) == first[2]
        key.write_bytes(second[1])
        await replica.hear(b"reloaded;")
        assert await shown(replica.port) == second[2]


# Listening


@pytest.mark.parametrize("count", [1, 2])
async def test_two_gates_do_not_share_a_port(count: int) -> None:
    """Neither the public one nor the admin listener's: the second says so, and ends with nothing left behind."""
    async with Fleet(workers=count) as fleet:
        (replica,) = fleet.replicas
        code, said = await run_out(fleet.write_config(1, listen=[f"127.0.0.1:{replica.port}"]))
        assert code == 2
        assert f"listen: 127.0.0.1:{replica.port}: Address already in use" in said
        code, said = await run_out(fleet.write_config(1, admin={"listen": f"127.0.0.1:{replica.admin}"}))
        assert code == 2
        assert f"admin.listen: 127.0.0.1:{replica.admin}: " in said
        assert "address already in use" in said
        assert await answers(replica.port) == 401


async def test_a_unix_socket(tmp_path: Path) -> None:
    """One for all workers; what a killed gate left behind is no hindrance."""
    path = tmp_path / "gate.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    async with Fleet(config={"listen": ["127.0.0.1:0", f"unix:{path}"]}) as fleet:
        (replica,) = fleet.replicas
        await replica.hear(f"unix:{path}".encode())
        assert path.stat().st_mode & 0o777 == 0o660
        for _ in range(2):
            for _ in range(6):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(request("/api/v1/me", host=AUTHORITY, headers={"Connection": "close"}))
                assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
                writer.close()
                await writer.wait_closed()
            assert b"reloaded" in await hangup(replica)


# The end


async def test_sigterm_lets_requests_finish() -> None:
    """Readiness goes first; what is under way arrives whole; then everything has ended, with 0."""
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        arrived.set()
        await release.wait()
        writer.write(b"-last")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    upstream = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    config = {"sites": [{"url": f"http://{AUTHORITY}", "upstream": {"url": upstream}, "access": PUBLIC}]}
    async with server, Fleet(upstream=upstream, config=config) as fleet:
        (replica,) = fleet.replicas
        processes = replica.workers()
        wire = await connect(replica.port)
        await wire.send(request("/slow", host=AUTHORITY))
        await asyncio.wait_for(arrived.wait(), LIMIT)
        replica.process.send_signal(signal.SIGTERM)

        async def is_leaving() -> bool:
            reply = await probe(replica, "/readyz")
            return (reply.status, reply.text) == (503, "gate: shutting down\n")

        await until(is_leaving)
        release.set()
        reply = await wire.reply()
        assert (reply.status, reply.body) == (200, b"first-last")
        await wire.close()
        assert await asyncio.wait_for(replica.process.wait(), LIMIT) == 0
        await gone(processes)
        with pytest.raises(ConnectionRefusedError):
            await connect(replica.port)


async def test_sigterm_during_a_reload() -> None:
    """The new generation ends with the old one."""
    async with Fleet() as fleet:
        (replica,) = fleet.replicas
        old = replica.workers()
        replica.process.send_signal(signal.SIGHUP)

        async def has_begun() -> bool:
            return len(replica.workers()) > len(old)

        await until(has_begun)
        processes = replica.workers()
        replica.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(replica.process.wait(), LIMIT) == 0
        await gone(processes)
        assert replica.reading is not None
        await asyncio.wait_for(asyncio.shield(replica.reading), LIMIT)  # nobody holds its output any more
        assert not [line for line in replica.said if b"Traceback" in line or b"error" in line]


async def test_a_killed_master_takes_its_workers_along() -> None:
    """Nobody would replace them."""
    async with Fleet() as fleet:
        (replica,) = fleet.replicas
        processes = replica.workers()
        replica.process.kill()
        await replica.process.wait()
        await gone(processes)


# Parts that processes cannot be made to show


@pytest.fixture
async def settings() -> AsyncIterator[tuple[Fleet, Config]]:
    """A configuration that holds, of a gate that is not running."""
    async with Fleet(replicas=0, workers=1) as fleet:
        yield fleet, load_config(fleet.write_config(0, log={"access": False}))


async def test_a_worker_that_does_not_end_is_killed(
    settings: tuple[Fleet, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However stuck it is, the master's end comes."""
    _, config = settings
    monkeypatch.setattr(master_module, "LAST_WAIT", 0.05)
    master: Any = Master(lambda: config)
    master._listen(config)
    child: Child = await master._start_child(config, 0)
    child.process.send_signal(signal.SIGSTOP)
    await master._dismiss(child, 0.0)
    assert child.process.returncode == -signal.SIGKILL
    for sockets in master._sockets.values():
        for sock in sockets:
            sock.close()


async def test_a_successor_that_comes_too_late(settings: tuple[Fleet, Config]) -> None:
    """While it started, a reload has brought a whole generation: it is one too many."""
    _, config = settings
    master: Any = Master(lambda: config)
    master._listen(config)
    master._config = config
    child: Child = await master._start_child(config, 0)
    master._crew.current = [child]
    child.started -= 1000.0
    start = master._start_child

    async def slowly(*arguments: Any) -> Child:
        made: Child = await start(*arguments)
        master._config = config.model_copy()
        master.late = made
        return made

    master._start_child = slowly
    child.process.kill()
    await master._wait_for(child, config)
    assert master._crew.current == []
    assert master.late.process.returncode == 0
    child.channel.close()
    await child.listening
    for sockets in master._sockets.values():
        for sock in sockets:
            sock.close()


async def test_a_generation_is_whole_or_not_there(settings: tuple[Fleet, Config]) -> None:
    """When the second worker cannot be started, the first one goes again."""
    _, config = settings
    master: Any = Master(lambda: config)
    two = config.model_copy(update={"workers": 2})
    master._listen(two)
    start = master._start_child
    made: list[Child] = []

    async def once(given: Config, index: int) -> Child:
        if made:
            raise OidcgateError("no second one, for a test")
        made.append(await start(given, index))
        return made[0]

    master._start_child = once
    with pytest.raises(OidcgateError, match="no second one"):
        await master._generation(two)
    assert made[0].process.returncode == 0
    for sockets in master._sockets.values():
        for sock in sockets:
            sock.close()


async def test_nobody_there(settings: tuple[Fleet, Config]) -> None:
    """Without a worker the gate is not ready, and nobody can tell of sessions."""
    _, config = settings
    master: Any = Master(lambda: config)
    assert await master._readiness() == {"worker": "none is running"}
    assert await master._crew.liveness() == {"master": "no worker is running"}
    with pytest.raises(StoreUnavailable):
        await master._crew.sessions(None)
    assert file_stamps(None) == {}
    assert worker_count(config) == 1


async def test_sessions_are_asked_of_the_next_one(settings: tuple[Fleet, Config]) -> None:
    """When the first cannot tell."""
    _, config = settings
    master: Any = Master(lambda: config)

    class Asked:
        """A worker that has one answer."""

        def __init__(self, answer: Any) -> None:
            self.answer = answer

        async def ask(self, _what: str, **_: Any) -> Any:
            return self.answer

    master._crew.current = [Asked(None), Asked({"failure": "away"}), Asked({"result": True})]
    assert await master._crew.sessions("x") is True


async def test_an_address_that_cannot_be(settings: tuple[Fleet, Config]) -> None:
    """Told with the key that names it."""
    _, config = settings
    bad = config.model_copy(update={"listen": ("unix:/nowhere/at/all.sock",)})
    with pytest.raises(ConfigError) as caught:
        Master(lambda: bad)._listen(bad)
    assert caught.value.problems[0].path == "listen"


async def test_no_process_for_a_worker(settings: tuple[Fleet, Config], monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has none left for now is no reason to give up: it is a failure like others."""
    _, config = settings
    master: Any = Master(lambda: config)
    master._listen(config)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(OidcgateError, match="no process for a worker: No such file"):
        await master._start_child(config, 0)
    for sockets in master._sockets.values():
        for sock in sockets:
            sock.close()


async def test_a_reload_while_no_worker_can_be_started(settings: tuple[Fleet, Config]) -> None:
    """Then the new generation has its own, and the old one's is not tried again."""
    _, config = settings
    master: Any = Master(lambda: config)
    master._listen(config)
    master._config = config
    child: Child = await master._start_child(config, 0)
    master._crew.current = [child]
    tries = []

    async def fails(*_: Any) -> Child:
        tries.append(1)
        if len(tries) == 2:
            master._config = config.model_copy()
        raise OidcgateError("for a test")

    master._start_child = fails
    child.process.kill()
    await master._wait_for(child, config)
    assert len(tries) == 2
    child.channel.close()
    await child.listening
    for sockets in master._sockets.values():
        for sock in sockets:
            sock.close()


def test_what_a_worker_says_of_its_failure() -> None:
    """Problems by their keys, a reason in words, or nothing at all."""
    failures: list[Any] = [
        master_module._failure(answer) for answer in ({"problems": [["a.b", "c"]]}, {"failure": "in words"}, {})
    ]
    assert [str(problem) for problem in failures[0].problems] == ["a.b: c"]
    assert [str(failure) for failure in failures[1:]] == ["in words", "a worker did not start in time"]


async def test_a_file_that_is_away_for_a_moment(settings: tuple[Fleet, Config], tmp_path: Path) -> None:
    """Its coming back is a change, and its going is one."""
    _, config = settings
    keys = tmp_path / "keys"
    session = config.session.model_copy(update={"keys_file": str(keys)})
    changed = config.model_copy(update={"session": session})
    away = file_stamps(changed)
    keys.touch()
    assert set(away) == set(file_stamps(changed)) == {str(keys)}
    assert away != file_stamps(changed)
