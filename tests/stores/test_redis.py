"""The shared store, on real servers: the contract, several clients, notices, outages, access, TLS, sentinel, cluster."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis

from oidcgate.config.redis_address import parse_redis_url
from oidcgate.errors import StoreUnavailable
from oidcgate.session.store import ABSENT
from oidcgate.stores import redis_notices
from oidcgate.stores.redis import RedisStore
from tests.stores.test_contract import *  # noqa: F403 - each of its tests, with the store below
from tests.support.redis import PATIENCE, Cluster, RedisServer, clustered, server, synchronised, watched

pytestmark = pytest.mark.real

# What the gate needs to be allowed, and no more; the Redis guide has the same list.
RIGHTS = "~oidcgate:* &oidcgate:* -@all +get +set +del +getrange +eval +evalsha +scan +publish +subscribe +unsubscribe +ping +info +wait +select"


class ServersClock:
    """Turns the time of real servers: what is added to ``now`` is taken from the life of each key."""

    def __init__(self, *servers: RedisServer) -> None:
        self._servers = servers
        self._now = 1_800_000_000.0

    @property
    def now(self) -> float:
        return self._now

    @now.setter
    def now(self, moment: float) -> None:
        passed, self._now = round((moment - self._now) * 1000), moment
        for one in self._servers:
            with Redis(port=one.port) as client:
                for key in client.scan_iter():
                    client.pexpire(key, client.pttl(key) - passed)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server for those tests that leave it as it was."""
    with server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three masters, three replicas."""
    with clustered(tmp_path_factory.mktemp("cluster"), replicas=1) as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    """A server for one test, which may kill it."""
    with server(tmp_path / "redis") as running:
        yield running


@pytest.fixture(params=["single", "cluster"])
def servers(request: pytest.FixtureRequest) -> tuple[str, list[RedisServer]]:
    """The URL and the masters, empty, of each kind."""
    if request.param == "cluster":
        running: Cluster = request.getfixturevalue("cluster")
        url, masters = running.url, running.masters()
    else:
        one: RedisServer = request.getfixturevalue("redis")
        url, masters = one.url, [one]
    for master in masters:
        master.ask("FLUSHALL")
    return url, masters


@pytest.fixture
def clock(servers: tuple[str, list[RedisServer]]) -> ServersClock:
    """The servers' clock."""
    return ServersClock(*servers[1])


@pytest.fixture
async def store(servers: tuple[str, list[RedisServer]]) -> AsyncIterator[RedisStore]:
    """An open store."""
    async with opened(servers[0]) as running:
        yield running


@asynccontextmanager
async def opened(url: str, **options: float) -> AsyncIterator[RedisStore]:
    """A store on this URL."""
    running = RedisStore(parse_redis_url(url), **options)  # type: ignore[arg-type]
    try:
        await running.open()
        yield running
    finally:
        await running.close()


async def until(condition: Callable[[], object], *, what: str) -> None:
    """Wait for something that happens by and by; the bound only ends tests that are stuck."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


async def until_it_works(call: Callable[[], Awaitable[object]]) -> None:
    """Try again as long as the store is not available."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            await call()
            return
        except StoreUnavailable:
            assert time.monotonic() < end, "the store did not come back"
            await asyncio.sleep(0.05)


async def value(store: RedisStore, key: str) -> bytes | None:
    """Just the value."""
    found = await store.get(key)
    return None if found is None else found.value


# The contract, where real time needs more room.


async def test_life(store: RedisStore, clock: ServersClock) -> None:
    """A key runs out at its time, not before."""
    await store.put("a", b"1", life=60)
    clock.now += 30
    assert await store.get("a") is not None
    clock.now += 30
    assert await store.get("a") is None


async def test_real_life(store: RedisStore) -> None:
    """A short life ends without anybody's doing."""
    await store.put("a", b"1", life=0.05)
    end = time.monotonic() + PATIENCE
    while await store.get("a") is not None:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_life_is_the_servers(redis: RedisServer) -> None:
    """The server itself removes what has run out: each key has a time to live there, in milliseconds."""
    async with opened(redis.url) as store:
        await store.put("a", b"1", life=60.5)
        assert 55_000 < redis.ask("PTTL", "oidcgate:a") <= 60_500


# Keys and versions


async def test_delete_expected(store: RedisStore) -> None:
    """With a version given, only that one is removed."""
    old = await store.put("a", b"1", life=60)
    new = await store.put("a", b"2", life=60)
    assert await store.delete("a", expected=old) is False
    assert await value(store, "a") == b"2"
    assert await store.delete("a", expected=ABSENT) is False
    assert await store.delete("a", expected=new) is True
    assert await store.delete("a", expected=new) is False


async def test_keys(store: RedisStore) -> None:
    """Every key that begins so, however many there are, and no other; a pattern's signs mean themselves."""
    many = [f"session:{number:04}" for number in range(1200)]
    await asyncio.gather(
        *(store.put(key, b"1", life=60) for key in [*many, "grant:1", "s*", "sess", "[a-z]", "\\x", "é"])
    )
    assert await store.keys("session:") == many
    assert await store.keys("s*") == ["s*"]
    assert await store.keys("[a-z]") == ["[a-z]"]
    assert await store.keys("\\") == ["\\x"]
    assert await store.keys("é") == ["é"]
    assert await store.keys("none") == []
    assert len(await store.keys("")) == 1206


async def test_two_clients_race(servers: tuple[str, list[RedisServer]]) -> None:
    """Of two processes that replace the same version exactly one wins, each time; also when there was none."""
    async with opened(servers[0]) as one, opened(servers[0]) as other:
        version = ABSENT
        for _ in range(50):
            results = await asyncio.gather(*(each.put("a", b"1", life=60, expected=version) for each in (one, other)))
            (version,) = [result for result in results if result is not None]


async def test_many_calls_at_once(redis: RedisServer) -> None:
    """A burst takes turns on a limited number of connections, and none of it fails."""
    async with opened(redis.url) as store:
        await asyncio.gather(*(store.put(f"k{number}", b"1", life=60) for number in range(1000)))
        assert int(redis.ask("INFO", "clients")["connected_clients"]) < 80


async def test_prefix(redis: RedisServer) -> None:
    """Nothing is written outside the prefix, and what others have there is not touched."""
    redis.ask("FLUSHALL")
    redis.ask("SET", "a", "theirs")
    async with opened(redis.url) as store:
        assert await store.get("a") is None
        await store.put("a", b"ours", life=60)
        assert await store.keys("") == ["a"]
    assert sorted(redis.ask("KEYS", "*")) == ["a", "oidcgate:a"]


async def test_foreign_value(redis: RedisServer) -> None:
    """What somebody else has put under our prefix is no session, and says so."""
    redis.ask("SET", "oidcgate:short", "x")
    redis.ask("RPUSH", "oidcgate:list", "x")
    async with opened(redis.url) as store:
        for key in ("short", "list"):
            with pytest.raises(StoreUnavailable):
                await store.get(key)


async def test_scripts_are_sent_again(own: RedisServer) -> None:
    """A server that has forgotten the scripts is sent them."""
    async with opened(own.url) as store:
        await store.put("a", b"1", life=60)
        own.ask("SCRIPT", "FLUSH")
        assert await store.put("a", b"2", life=60) is not None
        assert await store.delete("a") is True


# Notices


async def test_notices(servers: tuple[str, list[RedisServer]]) -> None:
    """What one says all hear, itself too, in order."""
    async with opened(servers[0]) as one, opened(servers[0]) as other:
        heard: dict[str, list[str]] = {"one": [], "other": []}
        one.listen(heard["one"].append)
        other.listen(heard["other"].append)
        await one.notify("ended é")
        await until(lambda: heard["one"] and heard["other"], what="the first notice")
        await other.notify("second")
        await until(lambda: len(heard["one"]) == len(heard["other"]) == 2, what="the second notice")
        assert heard == {"one": ["ended é", "second"], "other": ["ended é", "second"]}


async def test_databases_are_apart(redis: RedisServer) -> None:
    """Gates on two databases of one server do not hear each other."""
    async with opened(redis.url) as one, opened(redis.url.removesuffix("0") + "1") as other:
        heard: list[str] = []
        one.listen(heard.append)
        await other.notify("theirs")
        await one.notify("ours")
        await until(lambda: heard, what="the notice")
        assert heard == ["ours"]


async def test_a_listener_that_fails(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """A listener's mistake is logged, and the others hear on."""
    async with opened(redis.url) as store:
        heard: list[str] = []
        store.listen(lambda message: [][int(message)])
        store.listen(heard.append)
        await store.notify("1")
        await store.notify("2")
        await until(lambda: len(heard) == 2, what="both notices")
    assert "a listener failed" in caplog.text


async def test_silence_is_looked_into(own: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription on which nothing comes is asked for a sign of life, and goes on if there is one."""
    monkeypatch.setattr(redis_notices, "SILENCE", 0.02)
    async with opened(own.url) as store:
        heard: list[str] = []
        store.listen(heard.append)
        before = int(own.ask("INFO", "stats")["total_commands_processed"])
        await until(
            lambda: int(own.ask("INFO", "stats")["total_commands_processed"]) > before + 50, what="signs of life"
        )
        await store.notify("x")
        await until(lambda: heard, what="the notice")
        assert heard == ["x"]


# Outages


async def test_frozen(own: RedisServer) -> None:
    """While the server hangs, each call fails within its time; then it works as if nothing had been."""
    async with opened(own.url, call_limit=0.3) as store:
        version = await store.put("a", b"1", life=60)
        own.freeze()
        calls = (
            lambda: store.get("a"),
            lambda: store.put("a", b"2", life=60, expected=version),
            lambda: store.delete("b"),
            lambda: store.keys(""),
            lambda: store.notify("x"),
        )
        for call in calls:
            begun = time.monotonic()
            with pytest.raises(StoreUnavailable, match="redis: "):
                await call()
            assert time.monotonic() - begun < 2  # of 0.3: the rest is for slow machines
        own.thaw()
        await until_it_works(lambda: store.get("a"))
        assert await store.put("b", b"3", life=60) is not None


async def test_frozen_subscription(own: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription that gives no sign of life is replaced, and the listeners are told."""
    monkeypatch.setattr(redis_notices, "SILENCE", 0.02)
    monkeypatch.setattr(redis_notices, "CALL_LIMIT", 0.1)
    async with opened(own.url, call_limit=0.3) as store:
        heard: list[str] = []
        store.listen(heard.append)
        own.freeze()
        await asyncio.sleep(0.3)
        own.thaw()
        await until(lambda: heard, what="the word that something may have been missed")
        await until_it_works(lambda: store.notify("x"))
        await until(lambda: "x" in heard, what="the notice")
        assert set(heard) == {"", "x"}


async def test_killed_and_started_again(own: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """After a restart calls work and notices arrive; the listeners are told that they may have missed some."""
    caplog.set_level(logging.INFO, "oidcgate.store")
    async with opened(own.url) as store:
        heard: list[str] = []
        store.listen(heard.append)
        await store.put("a", b"1", life=60)
        own.kill()
        with pytest.raises(StoreUnavailable):
            await store.get("a")
        await until(lambda: "no change notices for now" in caplog.text, what="the warning")
        own.start()
        await until(lambda: heard, what="the word that something may have been missed")
        assert await store.put("a", b"2", life=60) is not None
        await store.notify("x")
        await until(lambda: len(heard) == 2, what="the notice")
        assert heard == ["", "x"]
    assert caplog.text.count("no change notices for now") == 1


async def test_connections_cut(own: RedisServer) -> None:
    """A connection that the server has closed meanwhile costs no read and no write."""
    async with opened(own.url) as store:
        await store.put("a", b"1", life=60)
        own.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.sleep(0.05)
        assert await value(store, "a") == b"1"
        own.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.sleep(0.05)
        assert await store.put("a", b"2", life=60) is not None


async def test_down_at_start(own: RedisServer) -> None:
    """Opening fails when nobody is there; whoever keeps the store has a working one once the server is."""
    own.kill()
    store = RedisStore(parse_redis_url(own.url))
    try:
        heard: list[str] = []
        store.listen(heard.append)
        with pytest.raises(StoreUnavailable, match=r"connecting to 127\.0\.0\.1"):
            await store.open()
        own.start()
        await until(lambda: heard, what="the subscription")
        assert await store.put("a", b"1", life=60) is not None
        await store.open()
    finally:
        await store.close()


async def test_closed() -> None:
    """Before it is opened and after it is closed a store says so; closing twice is fine."""
    store = RedisStore(parse_redis_url("redis://127.0.0.1:1"))
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.get("a")
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.open()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.put("a", b"1", life=60)


async def test_closing_while_frozen(own: RedisServer) -> None:
    """A store can be closed while its server hangs."""
    async with opened(own.url, call_limit=0.3) as store:
        await store.put("a", b"1", life=60)
        own.freeze()


# Who may


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that wants a name and a password, and allows just what the gate needs."""
    options = ("--requirepass", "admin", "--user", "gate", "on", ">g@heim", *RIGHTS.split())
    with server(tmp_path / "redis", *options) as running:
        yield running


def secret(path: Path, text: str) -> Path:
    """A file that is the owner's alone."""
    path.touch(0o600)
    path.write_text(text)
    return path


async def everything(store: RedisStore) -> None:
    """Each method once."""
    heard: list[str] = []
    store.listen(heard.append)
    version = await store.put("session:a", b"1", life=60)
    assert await store.put("session:a", b"2", life=60, expected=version) is not None
    assert await value(store, "session:a") == b"2"
    assert await store.keys("session:") == ["session:a"]
    assert await store.delete("session:a") is True
    await store.notify("x")
    await until(lambda: heard, what="the notice")


@pytest.mark.parametrize("source", ["url", "file", "environment"])
async def test_access_list(guarded: RedisServer, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with the rights of our documentation can do all; the password comes from where one wants it."""
    monkeypatch.setenv("REDIS_PASSWORD", "g@heim")
    file = secret(tmp_path / "file", "g@heim\n")
    url = {
        "url": f"redis://gate:g%40heim@127.0.0.1:{guarded.port}",
        "file": f"redis://gate@127.0.0.1:{guarded.port}?password_file={file}",
        "environment": f"redis://gate@127.0.0.1:{guarded.port}?password_env=REDIS_PASSWORD",
    }[source]
    async with opened(url) as store:
        await everything(store)
        assert "heim" not in repr(store)


async def test_default_user(guarded: RedisServer) -> None:
    """A password without a name is the default user's."""
    async with opened(f"redis://:admin@127.0.0.1:{guarded.port}") as store:
        await everything(store)


@pytest.mark.parametrize("userinfo", ["", "gate:geheim@", "nobody:geheim@", ":geheim@"])
async def test_refused(guarded: RedisServer, userinfo: str) -> None:
    """A wrong name or password, or none, is said at once, without the password."""
    with pytest.raises(StoreUnavailable, match=r"(?i)auth|WRONGPASS|invalid") as caught:
        async with opened(f"redis://{userinfo}127.0.0.1:{guarded.port}"):
            pass
    assert "geheim" not in str(caught.value)


async def test_rights_missing(own: RedisServer) -> None:
    """A right that is missing is named when the store is opened."""
    own.ask("ACL", "SETUSER", "gate", "on", ">p", "~*", "+@all", "resetchannels")
    with pytest.raises(StoreUnavailable, match=r"(?i)channel"):
        async with opened(f"redis://gate:p@127.0.0.1:{own.port}"):
            pass


async def test_password_changes(own: RedisServer, tmp_path: Path) -> None:
    """A new password in the file counts for the next connection, without a restart."""
    file = secret(tmp_path / "file", "old")
    own.ask("ACL", "SETUSER", "gate", "on", ">old", "~*", "&*", "+@all")
    async with opened(f"redis://gate@127.0.0.1:{own.port}?password_file={file}") as store:
        own.ask("ACL", "SETUSER", "gate", "resetpass", ">new")
        file.unlink()
        secret(file, "new")
        own.ask("CLIENT", "KILL", "USER", "gate")
        await until_it_works(lambda: store.put("a", b"1", life=60))


@pytest.mark.parametrize("query", ["password_file=/nowhere/at/all", "password_env=OIDCGATE_NO_SUCH_VARIABLE"])
async def test_no_password(own: RedisServer, query: str) -> None:
    """A password that is not where it should be is named."""
    with pytest.raises(StoreUnavailable, match=r"/nowhere/at/all|OIDCGATE_NO_SUCH_VARIABLE"):
        async with opened(f"{own.url}?{query}"):
            pass


# TLS


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1, which is its own authority, with its key beside it."""
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret(folder / "key.pem", "").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    file = folder / "cert.pem"
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that speaks TLS only."""
    file = certificate(tmp_path / "server")
    options = ("--tls-cert-file", str(file), "--tls-key-file", str(file.with_name("key.pem")))
    with ExitStack() as stack:
        try:
            yield stack.enter_context(server(tmp_path / "redis", *options, "--tls-auth-clients", "no", tls=True))
        except RuntimeError as error:
            if "bad directive" in str(error).lower():
                pytest.skip("this redis-server is built without TLS")
            raise


async def test_tls(secure: RedisServer, tmp_path: Path) -> None:
    """With the right authority everything works over TLS."""
    async with opened(f"rediss://127.0.0.1:{secure.port}?ca_file={tmp_path / 'server' / 'cert.pem'}") as store:
        await everything(store)


async def test_tls_with_our_certificate(tmp_path: Path) -> None:
    """A server that asks for a certificate is shown ours."""
    theirs, ours = certificate(tmp_path / "server"), certificate(tmp_path / "gate")
    options = ("--tls-cert-file", str(theirs), "--tls-key-file", str(theirs.with_name("key.pem")))
    with server(tmp_path / "redis", *options, "--tls-ca-cert-file", str(ours), tls=True) as running:
        url = f"rediss://127.0.0.1:{running.port}?ca_file={theirs}"
        with pytest.raises(StoreUnavailable):
            async with opened(url):
                pass
        async with opened(f"{url}&cert_file={ours}&key_file={ours.with_name('key.pem')}") as store:
            await everything(store)


@pytest.mark.parametrize("trust", ["system", "another", "missing"])
async def test_tls_refused(secure: RedisServer, tmp_path: Path, trust: str) -> None:
    """An authority that is not the configured one, or a file that is not there, is refused."""
    url = f"rediss://127.0.0.1:{secure.port}"
    if trust == "another":
        url += f"?ca_file={certificate(tmp_path / 'another')}"
    elif trust == "missing":
        url += "?ca_file=/nowhere/at/all"
    with pytest.raises(StoreUnavailable):
        async with opened(url):
            pass


async def test_tls_name(secure: RedisServer, tmp_path: Path) -> None:
    """A certificate for another name is refused."""
    with pytest.raises(StoreUnavailable, match=r"(?i)certificate|hostname"):
        async with opened(f"rediss://localhost:{secure.port}?ca_file={tmp_path / 'server' / 'cert.pem'}"):
            pass


async def test_unix_socket(tmp_path: Path) -> None:
    """A server on this machine can be reached by a socket file."""
    path = tmp_path / "redis.sock"
    with server(tmp_path / "redis", "--unixsocket", str(path)):
        async with opened(f"unix://{path}?db=1") as store:
            await everything(store)


# Replicas, sentinel and cluster


async def test_waits_for_a_replica(tmp_path: Path) -> None:
    """Sessions and grants are on the replica when put returns; login marks and the like wait for nobody."""
    with server(tmp_path / "master") as master:
        following = server(tmp_path / "replica", "--replicaof", f"127.0.0.1 {master.port}")
        with following as replica:
            synchronised(master)
            async with opened(master.url) as store:
                for number in range(20):
                    await store.put(f"session:{number}", b"1", life=60)
                    assert replica.ask("EXISTS", f"oidcgate:session:{number}") == 1
                await store.delete("session:0")
                assert replica.ask("EXISTS", "oidcgate:session:0") == 0
                waits = master.ask("INFO", "commandstats")["cmdstat_wait"]["calls"]
                await store.put("used:1", b"1", life=60)
                assert master.ask("INFO", "commandstats")["cmdstat_wait"]["calls"] == waits


async def test_replica_that_lags(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A replica that does not keep up delays writes a little, is complained of once, and fails nothing."""
    with server(tmp_path / "master") as master:
        following = server(tmp_path / "replica", "--replicaof", f"127.0.0.1 {master.port}")
        with following as replica:
            synchronised(master)
            async with opened(master.url) as store:
                replica.freeze()
                for _ in range(3):
                    assert await store.put("grant:1", b"1", life=60) is not None
                assert caplog.text.count("no replica has confirmed") == 1
                replica.kill()
                await until(lambda: "slave0" not in master.ask("INFO", "replication"), what="the master to notice")
                await store.put("grant:1", b"1", life=60)
                waits = master.ask("INFO", "commandstats")["cmdstat_wait"]["calls"]
                await store.put("grant:1", b"1", life=60)
                assert master.ask("INFO", "commandstats")["cmdstat_wait"]["calls"] == waits


async def test_no_replica_no_wait(redis: RedisServer) -> None:
    """Without replicas nobody waits."""
    async with opened(redis.url) as store:
        redis.ask("CONFIG", "RESETSTAT")
        await store.put("session:1", b"1", life=60)
        assert "cmdstat_wait" not in redis.ask("INFO", "commandstats")


async def test_failover(tmp_path: Path) -> None:
    """When the master dies the store goes on with the other one, which has every session, and notices arrive again."""
    with watched(tmp_path) as running:
        async with opened(running.url) as store:
            await everything(store)
            heard: list[str] = []
            store.listen(heard.append)
            for number in range(20):
                await store.put(f"session:{number}", str(number).encode(), life=600)
            running.master.kill()
            with pytest.raises(StoreUnavailable):
                await store.put("session:new", b"1", life=600)
            await until_it_works(lambda: store.put("session:new", b"1", life=600))
            assert [await value(store, f"session:{number}") for number in range(20)] == [
                str(number).encode() for number in range(20)
            ]
            await until(lambda: "" in heard, what="the word that something may have been missed")
            await until_it_works(lambda: store.notify("x"))
            await until(lambda: "x" in heard, what="the notice")


async def test_old_master_comes_back(tmp_path: Path) -> None:
    """A master that hangs is replaced; when it goes on nobody writes to it, though it knows of nothing yet."""
    with watched(tmp_path) as running:
        async with opened(running.url, call_limit=0.5) as store:
            await store.put("session:a", b"1", life=600)
            running.master.freeze()
            await until_it_works(lambda: store.put("session:a", b"2", life=600))
            running.master.thaw()
            await asyncio.gather(*(store.put(f"session:{number}", b"3", life=600) for number in range(20)))
            assert [running.replica.ask("EXISTS", f"oidcgate:session:{number}") for number in range(20)] == [1] * 20


async def test_unknown_service(tmp_path: Path) -> None:
    """A service that the sentinels do not know is named."""
    with watched(tmp_path) as running:
        with pytest.raises(StoreUnavailable, match="other"):
            async with opened(running.url.replace("/gate/", "/other/")):
                pass


async def test_dead_sentinel_first(tmp_path: Path) -> None:
    """Of several sentinels one is enough."""
    with watched(tmp_path) as running:
        async with opened(running.url.replace("//", "//127.0.0.1:1,")) as store:
            await everything(store)


async def test_cluster_failover(tmp_path: Path) -> None:
    """When a master of a cluster dies its replica takes over, with every session."""
    with clustered(tmp_path, replicas=1) as running:
        async with opened(running.url) as store:
            await everything(store)
            for number in range(60):
                await store.put(f"session:{number}", b"1", life=600)
            running.masters()[0].kill()
            for number in range(60):
                await until_it_works(lambda number=number: store.put(f"grant:{number}", b"1", life=600))
                await until_it_works(lambda number=number: store.get(f"session:{number}"))
                assert await value(store, f"session:{number}") == b"1"
            assert len(await store.keys("session:")) == 60
            heard: list[str] = []
            store.listen(heard.append)
            await until_it_works(lambda: store.notify("x"))
            await until(lambda: heard, what="a notice, or the word that one may have been missed")
