"""A day in the audit: who came, what they opened in the cluster, how it ended; and nothing that opens anything."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.journeys.steps import POD
from tests.journeys.test_kube_lab import EXEC, terminal
from tests.journeys.test_kube_lab import heard as said
from tests.lab.kube.issuer import ClusterStack
from tests.lab.kube.lab import CONTAINER, NAMESPACE, running_lab
from tests.lab.kube.lab import POD as LAB_POD
from tests.lab.kube.programs import BUILD_LIMIT
from tests.support.audit import AUDIT, events, facts, heard
from tests.support.browser import Browser
from tests.support.fleet import Fleet
from tests.support.raw import LIMIT
from tests.support.stack import Stack
from tests.web.steps import the_live

SITE = {"upstream": {"ui": "dashboard-7"}}
SHELL = f"api/v1/pod/{POD}/shell/cart"
SOCKET = "api/sockjs/012/geheimes/websocket"
PLACE = (*POD.split("/"), "cart")


@pytest_asyncio.fixture
async def audited() -> AsyncIterator[Stack]:
    """The demo with an audit file."""
    async with Stack(config=AUDIT, site=SITE) as stack:
        yield stack


async def typed(stack: Stack, browser: Browser, shell: str, *lines: str) -> None:
    """A shell over SockJS: each line is typed when the prompt is there; the last one ends it."""
    headers = {"Cookie": browser.cookie_header(stack.url)}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(f"{stack.url}/{SOCKET}?{shell}", origin=stack.url) as socket,
    ):
        await socket.send_str(json.dumps([json.dumps({"Op": "bind", "SessionID": shell})]))
        waiting = list(lines)
        async with asyncio.timeout(LIMIT):
            async for message in socket:
                if waiting and ":/app# " in message.data:
                    line = json.dumps({"Op": "stdin", "Data": waiting.pop(0) + "\r"})
                    await socket.send_str(json.dumps([line]))


async def asked_for_a_shell(stack: Stack, browser: Browser) -> str:
    """The id of a new shell."""
    page = await browser.fetch(f"{stack.url}/{SHELL}")
    assert page.status == 200, page.text
    return str(json.loads(page.text)["id"])


async def test_a_whole_day(audited: Stack) -> None:
    """Login, shell, a refusal, sign-out: each with names; no handle, token, id, code or state anywhere."""
    stack, browser = audited, Browser()
    await browser.sign_in(f"{stack.url}/")
    live = the_live(stack)
    grant = live.shared.grant
    shell = await asked_for_a_shell(stack, browser)
    await typed(stack, browser, shell, "echo geheime-eingabe", "exit")
    await heard(stack, "exec")
    carol = await stack.browser("carol")
    assert (await carol.fetch(f"{stack.url}/{SHELL}")).status == 403
    await browser.submit(await browser.open(f"{stack.url}/oauth2/sign_out"))
    rows = events(stack)
    assert [facts(row, "event", "user", "status") for row in rows] == [
        ("login", "alice@example.com", None),
        ("shell", "alice@example.com", 200),
        ("exec_opened", "alice@example.com", None),
        ("exec", "alice@example.com", 101),
        ("login", "carol@example.com", None),
        ("shell", "carol@example.com", 403),
        ("session_end", "alice@example.com", None),
    ]
    ended = rows[3]
    assert facts(ended, "namespace", "pod", "container", "ended") == (*PLACE, "ui")
    assert ended["bytes_up"] > 50
    assert ended["bytes_down"] > 50
    text = (stack.folder / "audit.log").read_text()
    queries = {pair for page in browser.visited for pair in page.url.partition("?")[2].split("&")}
    codes = [pair.partition("=")[2] for pair in queries if pair.partition("=")[0] in ("code", "state")]
    assert codes
    secrets = [
        *(value for jar in (browser, carol) for value in jar.cookies.values()),
        live.handle.decode(),
        live.bearer.decode().rpartition(" ")[2].strip(),
        *(token.id_token for token in grant.tokens.values()),
        grant.refresh_token,
        live.session.csrf,
        shell,
        *codes,
        "geheim",
    ]
    for secret in secrets:
        assert isinstance(secret, str)
        assert len(secret) > 5
        assert secret not in text


async def test_sign_out_ends_the_shell(audited: Stack) -> None:
    """A shell that is open when its person signs out says so."""
    stack = audited
    browser = await stack.browser()
    shell = await asked_for_a_shell(stack, browser)
    talking = asyncio.create_task(typed(stack, browser, shell))
    await heard(stack, "exec_opened")
    await browser.submit(await browser.open(f"{stack.url}/oauth2/sign_out"))
    await talking
    event = await heard(stack, "exec")
    assert facts(event, "namespace", "pod", "container") == PLACE
    assert facts(event, "ended", "reason") == ("session_end", "the person signed out")


async def test_the_gate_stops(audited: Stack) -> None:
    """What is open then is told before the file is closed."""
    stack = audited
    browser = await stack.browser()
    talking = asyncio.create_task(typed(stack, browser, await asked_for_a_shell(stack, browser)))
    await heard(stack, "exec_opened")
    await stack.stop_gate()
    await talking
    last = rows_of(stack.folder / "audit.log")[-1]
    assert facts(last, "event", "ended", *("namespace", "pod", "container")) == ("exec", "restart", *PLACE)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The events of a file; every line is one."""
    return [json.loads(line) for line in path.read_text().splitlines()]


async def come_and_go(fleet: Fleet, login: str) -> None:
    """Sign in, ask from several connections so that more than one worker knows the session, and sign out."""
    browser = await fleet.browser(login)
    for _ in range(6):
        assert (await browser.fetch(f"{fleet.url}/api/v1/me")).status == 200
    await browser.submit(await browser.open(f"{fleet.url}/oauth2/sign_out"))


async def test_several_processes_and_a_file_that_moves() -> None:
    """Each event is there once, whichever worker saw it, before and after the file was moved away."""
    async with Fleet(workers=3, config=AUDIT) as fleet:
        path, old = fleet.folder / "audit.log", fleet.folder / "audit.log.1"
        for _ in range(3):
            await come_and_go(fleet, "alice")
        path.rename(old)
        async with asyncio.timeout(LIMIT):
            while not path.exists():
                await come_and_go(fleet, "bob")
        await fleet.stop(fleet.replicas[0])
        rows = rows_of(old) + rows_of(path)
    counted = Counter(row["event"] for row in rows)
    assert set(counted) == {"login", "session_end"}
    assert counted["login"] == counted["session_end"] > 3
    begun = [row["session"] for row in rows if row["event"] == "login"]
    assert sorted(begun) == sorted(row["session"] for row in rows if row["event"] == "session_end")
    assert len(set(begun)) == len(begun)


# With a real API server.


@pytest_asyncio.fixture(loop_scope="session")
async def cluster() -> AsyncIterator[ClusterStack]:
    """A gate with an audit file before it."""
    async with running_lab() as lab:
        running = lab.stack(config=dict(AUDIT))
        async with running:
            yield running


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.timeout(BUILD_LIMIT)
async def test_a_real_cluster(cluster: ClusterStack) -> None:
    """A terminal, a terminal that is not allowed, and a secret, as the API server knows them."""
    alice, bob = await cluster.browser("alice"), await cluster.browser("bob")
    async with terminal(cluster, alice, "cat") as socket:
        await socket.send_bytes(b"\x00geheim\n")
        assert await said(socket, b"geheim\n") == b"geheim\n"
    event = await heard(cluster, "exec")
    names = ("user", "namespace", "pod", "container", "status", "ended")
    assert facts(event, *names) == ("alice@example.com", NAMESPACE, LAB_POD, CONTAINER, 101, "browser")
    assert event["bytes_up"] > 8
    assert event["bytes_down"] > 8
    assert 0 < event["seconds"] < LIMIT
    with pytest.raises(aiohttp.WSServerHandshakeError):
        async with terminal(cluster, bob, "sh"):
            pass
    refused = await heard(cluster, "exec", count=2)
    assert facts(refused, *names) == ("bob@example.com", NAMESPACE, LAB_POD, CONTAINER, 403, "refused")
    plain = await alice.fetch(f"{cluster.url}{EXEC}?container={CONTAINER}&command=sh")
    assert plain.status >= 400  # no upgrade was asked for
    assert (await heard(cluster, "exec", count=3))["ended"] == "refused"
    url = f"{cluster.url}/api/v1/namespaces/{NAMESPACE}/secrets"
    assert (await alice.fetch(url)).status == 200
    assert (await bob.fetch(f"{url}/none")).status == 403
    told = [facts(row, "user", "namespace", "secret", "status") for row in events(cluster, "secret")]
    assert told == [("alice@example.com", NAMESPACE, None, 200), ("bob@example.com", NAMESPACE, "none", 403)]
    assert "geheim" not in (cluster.folder / "audit.log").read_text()
