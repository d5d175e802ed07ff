"""Ways to break one thing of a course, each with the hop, the key and the words of the remedy that must be named."""

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from oidcgate.demo.issuer import Client
from oidcgate.demo.issuer_model import Claims
from oidcgate.demo.ui import DemoUI
from oidcgate.doctor.calls import Caller
from oidcgate.kube.reviews import SELF_PATH
from tests.doctor.certificates import HERE, issued
from tests.doctor.course import AUDIENCE, HOST, Course
from tests.support.apiserver import CREDENTIAL
from tests.support.stack import CLIENT, SECRET

Document = dict[str, Any]
NOWHERE = "nowhere.invalid"  # RFC 6761 §6.4


@dataclass
class Walk:
    """What a break leaves to the walk: a change of the doctor's configuration, and how it is walked."""

    change: Callable[[Document], object] = lambda _: None
    options: dict[str, Any] = field(default_factory=dict)


Break = Callable[[Course], Awaitable[Walk]]


def setting(path: str, value: Any) -> Break:
    """A key of the doctor's configuration has another value."""

    async def broken(_: Course) -> Walk:
        return Walk(lambda document: put(document, path, value))

    return broken


def put(document: Any, path: str, value: Any) -> None:
    """Set a key; ``sites.0.url`` is the first site's."""
    *above, last = path.split(".")
    for part in above:
        document = document[int(part)] if part.isdigit() else document.setdefault(part, {})
    if value is None:
        document.pop(last)
    else:
        document[last] = value


def token(make: Callable[[Course], str], change: Callable[[Document], object] = lambda _: None) -> Break:
    """Another token is given."""

    async def broken(course: Course) -> Walk:
        return Walk(change, {"token": make(course)})

    return broken


async def no_such_name(course: Course) -> Walk:
    """The site's host has no address, though the issuer knows its callback."""
    course.issuer.add_client(Client(CLIENT, SECRET, (f"https://{NOWHERE}/oauth2/callback",)))
    return Walk(lambda document: put(document, "sites.0.url", f"https://{NOWHERE}"))


async def gate_stopped(course: Course) -> Walk:
    """Nobody listens."""
    await course.stop_gate()
    return Walk()


def gate_certificate(name: str, hosts: tuple[str, ...] = (HOST,), days: float = 90, *, trusted: bool = True) -> Break:
    """The gate shows another certificate."""

    async def broken(course: Course) -> Walk:
        files = issued(course.folder, name, hosts, days=days)
        if trusted:
            course.monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
        await course.stop_gate()
        changed = {"cert_file": str(files.chain), "key_file": str(files.key)}
        await course.start_gate(lambda document: put(document, "tls", changed))
        return Walk()

    return broken


def somebody_else(status: int, headers: dict[str, str]) -> Break:
    """Another server answers at the site's address."""

    async def broken(course: Course) -> Walk:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status, headers=headers, text="hello")

        await course.stop_gate()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await runner.setup()
        context = course.certificates["gate"].context()
        await web.TCPSite(runner, "127.0.0.1", course.port, ssl_context=context).start()
        course.cleanups.append(runner.cleanup)
        return Walk()

    return broken


async def other_site(course: Course) -> Walk:
    """The gate runs with a site of another host."""
    await course.stop_gate()
    await course.start_gate(lambda document: put(document, "sites.0.url", "https://other.example.com"))
    return Walk()


async def issuer_stopped(course: Course) -> Walk:
    """The issuer is down."""
    await course.issuer.stop()
    return Walk()


def certificate_of(name: str, *, days: float = 90, alone: bool = False, hosts: tuple[str, ...] = HERE) -> Break:
    """A server shows a certificate of the same authority's name that does not do."""

    async def broken(course: Course) -> Walk:
        files = issued(course.folder, name, hosts, days=days, alone=alone)
        await course.serve(name, files)
        return Walk()

    return broken


def quirk(**quirks: Any) -> Break:
    """The issuer is odd."""

    async def broken(course: Course) -> Walk:
        for name, value in quirks.items():
            setattr(course.issuer.quirks, name, value)
        return Walk()

    return broken


def named(change: Claims) -> Callable[[Claims], Claims]:
    """A discovery document with some members replaced."""
    return lambda document: document | change


def client(**changes: Any) -> Break:
    """The gate's client is registered otherwise."""

    async def broken(course: Course) -> Walk:
        known = {"secret": SECRET, "redirect_uris": (f"{course.url}/oauth2/callback",), **changes}
        course.issuer.add_client(Client(CLIENT, **known))
        return Walk()

    return broken


async def no_trusted_peer(course: Course) -> Walk:
    """The cluster's client does not trust the gate's."""
    course.issuer.add_client(Client(AUDIENCE, "x", ()))
    return Walk()


async def own_clock(_: Course) -> Walk:
    """This machine's clock is ahead of everybody's."""
    return Walk(options={"caller": Caller(clock=lambda: time.time() + 600)})


async def clock_of_cluster(course: Course) -> Walk:
    """The API server's clock is behind."""
    course.cluster.skew = -90.0
    return Walk()


def expired(course: Course) -> str:
    """A token of yesterday."""
    course.issuer.clock = lambda: time.time() - 100_000
    try:
        return course.token()
    finally:
        course.issuer.clock = time.time


def of_another_client(course: Course) -> str:
    """A token that was issued to somebody else, who may ask for us."""
    course.issuer.add_client(Client("other", "x", ()))
    return course.token(client="other", audiences=())


async def cluster_stopped(course: Course) -> Walk:
    """The API server is down."""
    await course.cluster.stop()
    return Walk()


async def no_api_server(course: Course) -> Walk:
    """What is configured as the API server is the UI."""
    assert course.ui is not None
    url, ca = f"https://localhost:{course.ui.port}", str(course.certificates["ui"].ca)
    return Walk(lambda document: document["sites"][0].update(kubernetes={"api": url, "ca_file": ca}))


async def unknown_audience(course: Course) -> Walk:
    """The API server accepts another audience."""
    course.cluster.audience = "somebody"
    return Walk()


async def explained_audience(course: Course) -> Walk:
    """The same, and the gate has a credential that may ask why."""
    course.cluster.audience = "somebody"
    file = str(credential(course, CREDENTIAL))
    return Walk(lambda document: put(document, "sites.0.kubernetes.credential_file", file))


def credential(course: Course, text: str) -> Path:
    """A file with a credential for the API server."""
    path = course.folder / "credential"
    path.touch(0o600)
    path.write_text(text)
    return path


def impersonating(text: str) -> Break:
    """The gate acts for people with a credential."""

    async def broken(course: Course) -> Walk:
        file = str(credential(course, text))

        def change(document: Document) -> None:
            put(document, "sites.0.identity", "impersonate")
            put(document, "sites.0.kubernetes.credential_file", file)

        return Walk(change)

    return broken


def garbled(before: Break | None = None) -> Break:
    """The API server answers reviews with a page."""

    async def broken(course: Course) -> Walk:
        course.cluster.raw[SELF_PATH] = b"<html>"
        return await before(course) if before is not None else Walk()

    return broken


async def tokens_dropped(course: Course) -> Walk:
    """Something before the API server drops Authorization."""
    course.cluster.drops_tokens = True
    return Walk()


async def ui_stopped(course: Course) -> Walk:
    """The UI is down."""
    assert course.ui is not None
    await course.ui.stop()
    return Walk()


async def ui_without_tls(course: Course) -> Walk:
    """The UI speaks plain HTTP at a port that is taken for TLS."""
    assert course.ui is not None
    port = course.ui.port
    await course.ui.stop()
    await course.ui.start(port=port)
    return Walk()


async def ui_with_tls(course: Course) -> Walk:
    """The other way round."""
    assert course.ui is not None
    url = f"http://127.0.0.1:{course.ui.port}"
    return Walk(lambda document: document["sites"][0].update(upstream={"url": url, "ui": "dashboard-7"}))


async def ignores_bearer(course: Course) -> Walk:
    """A Dashboard 2.7 over plain HTTP."""
    other = DemoUI(course.issuer.url, AUDIENCE, https_mode=False)
    await other.start()
    course.cleanups.append(other.stop)
    return Walk(lambda document: document["sites"][0].update(upstream={"url": other.url, "ui": "dashboard-2"}))


async def ui_of_another_cluster(course: Course) -> Walk:
    """The UI asks an API server that does not take these tokens."""
    other = DemoUI(course.issuer.url, "somebody")
    await other.start()
    course.cleanups.append(other.stop)
    return Walk(lambda document: document["sites"][0].update(upstream={"url": other.url, "ui": "dashboard-7"}))


async def mixed_schemes(course: Course) -> Walk:
    """One cookie for sites of http and https."""

    def change(document: Document) -> None:
        document["session"]["cookie"]["domain"] = HOST
        second = {**document["sites"][0], "url": f"http://two.{HOST}:{course.port}"}
        document["sites"].append(second)

    return Walk(change, {"site": course.url})


async def broken_store(course: Course) -> Walk:
    """The store's file is something else."""
    folder = course.folder / "broken"
    folder.mkdir(0o700)
    (folder / "sessions.db").write_text("no database, but long enough to be looked at" * 100)
    return Walk(lambda document: put(document, "session.state_dir", str(folder)))


async def no_redis(course: Course) -> Walk:
    """Nobody listens where the store should be."""
    keys = course.folder / "state" / "keys"

    def change(document: Document) -> None:
        document["session"] |= {"store": "redis://127.0.0.1:9", "keys_file": str(keys)}

    return Walk(change)


async def broken_keys(course: Course) -> Walk:
    """The generated keys were cut short."""
    folder = course.folder / "other"
    folder.mkdir(0o700)
    keys = folder / "keys"
    os.close(os.open(keys, os.O_CREAT, 0o600))
    keys.write_text("too-short\n")
    return Walk(lambda document: put(document, "session.state_dir", str(folder)))
