"""A whole gate: what it opens, how it looks after things, and how it ends."""

import asyncio
import json
import logging
import os
import resource
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import http_parser

from oidcgate.config.load import parse_config
from oidcgate.demo.issuer import Client
from oidcgate.errors import ConfigError, StoreUnavailable
from oidcgate.web import machine, server
from oidcgate.web.machine import check_runtime, raise_file_limit, server_tls
from oidcgate.web.opening import open_store
from oidcgate.web.server import GateServer
from tests.support.browser import NAVIGATION, SCRIPT, Browser, query
from tests.support.raw import connect, request
from tests.support.stack import SECRET, Stack
from tests.web.steps import ask, come_back, consent, gate_of, lives, quick_stack
from tests.web.test_sessions import closed_with, open_websocket


def settings(folder: Path, **more: Any) -> Any:
    """A configuration of a gate that needs nobody."""
    base = {
        "listen": ["127.0.0.1:0"],
        "admin": None,
        "provider": {"issuer": "http://localhost:9/dex", "client_id": "gate"},
        "session": {"store": "memory", "state_dir": str(folder / "state")},
        "sites": [{"url": "http://localhost:8080", "upstream": {"url": "http://127.0.0.1:9"}}],
    }
    return parse_config({**base, **more}, folder=folder)


async def test_the_admin_listener_is_the_masters_with_workers(tmp_path: Path) -> None:
    """A worker opens none."""
    gate = GateServer(settings(tmp_path, admin={"listen": "127.0.0.1:0"}), access_descriptor=None, with_admin=False)
    await gate.start()
    assert gate.admin_address is None
    await gate.stop()


async def test_the_store_that_is_configured(tmp_path: Path) -> None:
    """Memory, a file in the state folder, or a file of its own."""
    memory = await open_store(settings(tmp_path))
    assert "Memory" in repr(memory)
    for text, path in (
        ("sqlite", tmp_path / "state" / "sessions.db"),
        (f"sqlite:{tmp_path}/other.db", tmp_path / "other.db"),
    ):
        session = {"store": text, "state_dir": str(tmp_path / "state")}
        store = await open_store(settings(tmp_path, session=session))
        assert path.exists()
        await store.close()


async def test_a_store_that_cannot_be_opened(tmp_path: Path) -> None:
    """An outage, not a crash."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        await open_store(settings(tmp_path, session={"store": f"sqlite:{tmp_path}/file/x.db"}))


# Every second


async def test_a_mistake_while_looking_after_things_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the next second comes."""
    monkeypatch.setattr(server, "TICK", 0.001)
    gate = GateServer(settings(tmp_path), access_descriptor=None)
    calls, third = [], asyncio.Event()

    async def broken() -> None:
        calls.append(1)
        if len(calls) >= 3:
            third.set()
        raise RuntimeError("for a test")

    monkeypatch.setattr(gate, "look_after", broken)
    await gate.start()
    await asyncio.wait_for(third.wait(), 10)
    await gate.stop()
    assert "unexpected error while looking after sessions" in caplog.text


async def test_the_gate_starts_without_its_provider_and_keeps_knocking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the issuer is there, the gate is ready by itself."""
    monkeypatch.setattr(server, "WARM_UP_PAUSE", 0.01)
    async with quick_stack() as stack:
        await stack.stop_gate()
        await stack.issuer.stop()
        gate = await stack.start_gate()
        provider = gate.providers.by_id("")
        assert provider is not None
        assert not provider.ready
        await stack.issuer.start()
        async with asyncio.timeout(15):
            await stack.issuer.wait_for("keys")
            while not provider.ready:
                await asyncio.sleep(0.001)


# The end


async def test_the_end_closes_terminals_with_a_reason() -> None:
    """1012: the browser may come back at once."""
    async with quick_stack() as stack:
        browser = await stack.browser()
        socket_ = await open_websocket(browser, stack)
        stopping = asyncio.create_task(stack.stop_gate())
        assert await closed_with(socket_) == (1012, "the gate restarts")
        await stopping
        await socket_.close()


async def test_the_end_lets_requests_finish() -> None:
    """What is under way is answered, and its connection ends; new connections are not taken."""
    async with quick_stack() as stack:
        browser = await stack.browser()
        assert (await ask(browser, stack)).status == 200
        wire = await connect(stack.port)
        headers = {**SCRIPT, "Cookie": browser.cookie_header(stack.url)}
        await wire.send(request("/api/v1/slow?seconds=0.2", host=f"localhost:{stack.port}", headers=headers))
        assert stack.ui is not None
        await stack.ui.wait_for(lambda ui: any("slow" in arrival.raw_target for arrival in ui.arrivals))
        gate = gate_of(stack)
        stopping = asyncio.create_task(gate.stop(drain=10))
        assert json.loads((await wire.reply()).text) == {"slept": 0.2}
        await stopping
        assert await wire.is_closed()
        await wire.close()
        with pytest.raises(OSError):
            await connect(stack.port)
        stack.gate = None
        assert gate._access_descriptor is not None
        os.close(gate._access_descriptor)


async def test_ended_sessions_are_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """With the reason, and without a name."""
    caplog.set_level(logging.INFO)
    async with quick_stack() as stack:
        browser = await stack.browser()
        await browser.submit(await browser.open(f"{stack.url}/oauth2/sign_out"))
        assert "a session ended (the person signed out), 0 open streams closed" in caplog.text
        assert "alice" not in caplog.text


# What it runs on


def test_the_python_parser_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is slower and less strict, so the gate does not run with it."""
    assert check_runtime() == []
    monkeypatch.setenv("AIOHTTP_NO_EXTENSIONS", "1")
    (problem,) = check_runtime()
    assert "Python parser" in problem.message
    monkeypatch.delenv("AIOHTTP_NO_EXTENSIONS")
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    assert len(check_runtime()) == 1


def test_python_without_checks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """``python -O`` removes what the code relies on."""

    class Optimised:
        optimize = 1

    monkeypatch.setattr(machine.sys, "flags", Optimised)
    (problem,) = check_runtime()
    assert "-O" in problem.message


def test_all_descriptors_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The soft limit is raised to the hard one; where that is not allowed, the gate runs all the same."""
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, 100))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    raise_file_limit()
    assert asked == [(100, 100)]

    def refused(_kind: int, _limits: object) -> None:
        raise ValueError("not allowed")

    monkeypatch.setattr(resource, "setrlimit", refused)
    raise_file_limit()


def test_a_certificate_that_does_not_load(tmp_path: Path) -> None:
    """A configuration error."""
    assert server_tls(settings(tmp_path)) is None
    for name in ("cert", "key"):
        (tmp_path / name).write_text("nonsense")
        (tmp_path / name).chmod(0o600)
    config = settings(tmp_path).model_copy(
        update={"tls": _tls(tmp_path)},
    )
    with pytest.raises(ConfigError):
        server_tls(config)


def _tls(folder: Path) -> Any:
    from oidcgate.config.model import Tls

    return Tls(cert_file=str(folder / "cert"), key_file=str(folder / "key"))


async def test_tls_of_the_public_listener(tmp_path: Path) -> None:
    """TLS 1.2 and up, http/1.1 only."""
    certificate(tmp_path)
    config = settings(tmp_path, tls={"cert_file": str(tmp_path / "cert"), "key_file": str(tmp_path / "key")})
    context = server_tls(config)
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    gate = GateServer(config, access_descriptor=None)
    await gate.start()
    client = ssl.create_default_context(cafile=str(tmp_path / "cert"))
    client.set_alpn_protocols(["h2", "http/1.1"])
    wire = await connect(gate.addresses[0].port, ssl=client, server_hostname="localhost")
    assert wire.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    await wire.send(request("/", host="localhost:8080", headers=NAVIGATION))
    assert (await wire.reply()).status == 302
    await wire.close()
    await gate.stop()


def certificate(folder: Path) -> None:
    """A self-signed certificate for localhost."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key").touch(0o600)
    (folder / "key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


# Several sites


@pytest.fixture
async def three(stack: Stack) -> Stack:
    """A gate with three sites: two that are reached, of which the second has a client of its own."""
    await stack.stop_gate()
    assert stack.ui is not None
    upstream = {"url": stack.ui.url, "ui": "plain"}
    second = f"http://127.0.0.1:{stack.port}"
    own = {"client_id": "second", "client_secret_file": str(stack.folder / "client-secret")}
    sites = [
        {"url": stack.url, "upstream": upstream},
        {"url": second, "upstream": {**upstream, "ui": "headlamp"}, "provider": own},
        {"url": "https://third.example.com:8443", "upstream": upstream},
    ]
    stack._config = {"sites": sites}
    gate = await stack.start_gate()
    callback = f"{stack.url}/oauth2/callback/{gate.sites[1].provider_id}"
    stack.issuer.add_client(Client("second", SECRET, (callback,)))
    return stack


async def test_each_site_by_its_host(three: Stack) -> None:
    """With and without a default port; another port is another site."""
    for host, status in (
        ("third.example.com:8443", 401),
        ("THIRD.example.com:8443", 401),
        ("third.example.com", 421),
        ("third.example.com:443", 421),
    ):
        page = await Browser().send("GET", f"{three.url}/x", {**SCRIPT, "Host": host})
        assert page.status == status
    page = await Browser().send("GET", f"{three.url}/deep", {**NAVIGATION, "Host": "third.example.com:8443"})
    assert page.location == "https://third.example.com:8443/oauth2/start?rd=%2Fdeep"


async def test_each_provider_has_a_callback_of_its_own(three: Stack) -> None:
    """All on the login host; one answer can never be taken for another issuer's or client's (mix-up)."""
    second = f"http://127.0.0.1:{three.port}"
    provider_id = gate_of(three).sites[1].provider_id
    browser = Browser()
    page = await browser.send("GET", f"{second}/oauth2/start?rd=%2F&f=", NAVIGATION)
    page = await browser.send("GET", page.location, NAVIGATION)
    asked = query(page.location)
    assert asked["client_id"] == "second"
    assert asked["redirect_uri"] == f"{three.url}/oauth2/callback/{provider_id}"
    url = await consent(browser, page.location)
    for wrong in (url.replace(f"/{provider_id}", ""), url.replace(provider_id, "other")):
        assert (await come_back(browser, wrong)).status == 400
    assert three.issuer.calls["token"] == 0
    page = await come_back(browser, url)
    assert (page.status, page.location.partition("?")[0]) == (303, f"{second}/oauth2/ticket")
    assert (await come_back(browser, page.location)).status == 303
    page = await browser.fetch(f"{second}/oauth2/userinfo")
    assert page.status == 200
    assert (
        await browser.fetch(f"{three.url}/oauth2/userinfo")
    ).status == 401  # another provider's login is no login here


async def test_a_sign_out_ends_the_logins_of_every_client(three: Stack) -> None:
    """On the way it passes by the login host, which has a login of the other client as well."""
    second = f"http://127.0.0.1:{three.port}"
    browser = await three.browser()
    await browser.sign_in(f"{second}/")
    for url in (three.url, second):
        assert (await browser.fetch(f"{url}/oauth2/userinfo")).status == 200
    page = await browser.submit(await browser.open(f"{second}/oauth2/sign_out"))
    assert (page.status, page.url) == (200, f"{second}/oauth2/signed_out")
    assert lives(three) == []
    for url in (three.url, second):
        assert (await browser.fetch(f"{url}/oauth2/userinfo")).status == 401
    page = await browser.open(f"{second}/")
    assert "password" in page.text


async def test_a_stranger_ends_nothing_on_the_login_host(three: Stack) -> None:
    """Only a sign-out makes the name under which logins are ended there."""
    browser = await three.browser()
    for name in ("x" * 43, "", "x"):
        page = await browser.open(f"{three.url}/oauth2/signed_out?t={name}")
        assert page.status == 200
    assert (await browser.fetch(f"{three.url}/oauth2/userinfo")).status == 200


async def test_each_client_has_grants_of_its_own(three: Stack) -> None:
    """The same person at two clients: two grants, and a request to each site carries that site's token."""
    browser = await three.browser()
    await browser.sign_in(f"http://127.0.0.1:{three.port}/")
    first, root, second = lives(three)
    assert root.shared is second.shared
    assert first.shared is not second.shared
    assert first.claims.audience != second.claims.audience
    assert (await ask(browser, three)).status == 200
    assert len(gate_of(three).sites[0].ui_cookie_expiries(b"")) == 0


async def test_a_login_that_is_not_admitted_ends_no_other_session(stack: Stack) -> None:
    """It killed the refresh token of the person's sessions on other sites of that client, which get the new one."""
    await stack.stop_gate()
    assert stack.ui is not None
    upstream = {"url": stack.ui.url, "ui": "plain"}
    second = f"http://127.0.0.1:{stack.port}"
    stack._config = {
        "sites": [
            {"url": stack.url, "upstream": upstream, "access": {"groups": ["nobody"]}},
            {"url": second, "upstream": upstream},
        ]
    }
    gate = await stack.start_gate()
    browser, other = Browser(), Browser()
    assert (await browser.sign_in(f"{second}/")).status == 200
    root, live = lives(stack)
    before = live.shared.grant.refresh_token
    assert (await other.sign_in(f"{stack.url}/")).status == 403
    assert lives(stack) == [root, live]
    assert live.shared.grant.refresh_token != before
    live.shared.due = 0.0
    live.fresh_until = 0.0
    assert (await browser.fetch(f"{second}/api/v1/me")).status == 200
    await asyncio.gather(*gate.grants._tasks)
    assert live.shared.can_renew
    assert live.shared.failures == 0


async def test_a_site_on_the_default_port(tmp_path: Path) -> None:
    """Browsers leave the port out, and some programs do not."""
    gate = GateServer(
        settings(tmp_path, sites=[{"url": "https://a.example.com", "upstream": {"url": "http://127.0.0.1:9"}}]),
        access_descriptor=None,
    )
    await gate.start()
    wire = await connect(gate.addresses[0].port)
    for host, status in (("a.example.com", 401), ("a.example.com:443", 401), ("a.example.com:80", 421)):
        await wire.send(request("/x", host=host))
        assert (await wire.reply()).status == status
    await wire.close()
    await gate.stop()


async def test_the_access_log_can_be_off(stack: Stack) -> None:
    """No request leaves a line then."""
    await stack.stop_gate()
    before = stack.log.read_text()
    stack._config = {"log": {"access": False}}
    await stack.start_gate()
    assert (await ask(await stack.browser(), stack)).status == 200
    await stack.stop_gate()
    written = stack.log.read_text().removeprefix(before)
    assert '"kind":"access"' not in written
