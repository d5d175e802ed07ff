"""The real HAProxy asks the gate, with the two files that `oidcgate snippet haproxy` prints."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oidcgate.snippets.haproxy import render
from oidcgate.snippets.plan import Plan
from tests.lab.denials import ADMINS_ONLY, keeps_the_second_bearer_back, loses_its_store, stays_away, tries_again
from tests.lab.peers import AskedStack, Peer, certificate, hold_to_document, listening, said_by
from tests.lab.scenario import me, signed_in, walk, works_in_chromium
from tests.snippets.plans import ALL
from tests.support.browser import Browser
from tests.support.chromium import People

pytestmark = pytest.mark.real

PROGRAM = shutil.which("haproxy") or "/usr/sbin/haproxy"


def version() -> str:
    """Such as 2.6.12."""
    return said_by(PROGRAM, "-v").split()[2].partition("-")[0]


def divide(text: str, folder: Path) -> None:
    """Make two files of a printed text, as it says itself."""
    (line,) = [line for line in text.splitlines() if "| awk " in line]
    program = line.partition("awk '")[2].rstrip("'")
    subprocess.run(["awk", program], input=text, text=True, cwd=folder, check=True)


@asynccontextmanager
async def asking(folder: Path, **options: Any) -> AsyncIterator[Peer]:
    """HAProxy before the UI, and the gate that it asks."""
    async with AskedStack(**options) as stack:
        divide(render(stack.plan()), folder)
        async with listening(PROGRAM, "-db", "-f", "haproxy.cfg", port=stack.peer_port, cwd=folder):
            yield Peer("haproxy", stack)


async def test_everything_works_through_haproxy(tmp_path: Path) -> None:
    """The whole walk; the document's row is what came of it."""
    async with asking(tmp_path) as peer:
        hold_to_document("haproxy", version(), await walk(peer))


async def test_with_one_cookie_for_all_hosts(tmp_path: Path) -> None:
    """The whole walk where logins end on another host, and nothing but the question leads from the UI's to the gate."""
    async with asking(tmp_path, shared=True) as peer:
        assert {name: text for name, text in (await walk(peer)).items() if text != "yes"} == {}


async def test_what_the_gate_cannot_know_is_503(tmp_path: Path) -> None:
    """A gate whose store is away says 503; so does the proxy, not 500, 401 or the login."""
    async with asking(tmp_path) as peer:
        for page in await loses_its_store(peer):
            assert page.status == 503
            assert page.reply.value("Retry-After") == "3"


async def test_an_outage_is_503(tmp_path: Path) -> None:
    """While the gate is away nobody gets through and nobody is signed out: 503, and the page tries again."""
    async with asking(tmp_path) as peer:
        tries_again(await stays_away(peer))


async def test_dashboard_is_told_in_its_own_words(tmp_path: Path) -> None:
    """A script of the Dashboard gets the text that its code knows."""
    async with asking(tmp_path, site={"upstream": {"ui": "dashboard-2"}}) as peer:
        page = await Browser().fetch(f"{peer.site}/api/v1/pod")
        assert (page.status, page.text) == (401, "MSG_TOKEN_EXPIRED_ERROR")
        assert page.reply.value("Content-Type") == "text/plain"


async def test_whom_the_site_is_not_open_to(tmp_path: Path) -> None:
    """Somebody with a session who may not use the site gets 403."""
    async with asking(tmp_path, site={"access": ADMINS_ONLY}) as peer:
        assert (await me(peer, await signed_in(peer, "alice"))).status == 200
        assert (await me(peer, await signed_in(peer, "bob"))).status == 403


async def test_a_gate_on_a_socket(tmp_path: Path) -> None:
    """The question may be put over a Unix socket."""
    async with AskedStack() as stack, socket_before(stack.port, tmp_path / "gate.sock"):
        divide(render(replace(stack.plan(), gate=f"unix:{tmp_path}/gate.sock")), tmp_path)
        async with listening(PROGRAM, "-db", "-f", "haproxy.cfg", port=stack.peer_port, cwd=tmp_path):
            peer = Peer("haproxy", stack)
            assert (await me(peer, await signed_in(peer))).status == 200


@asynccontextmanager
async def socket_before(port: int, path: Path) -> AsyncIterator[None]:
    """A Unix socket that leads to a port."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async with await asyncio.start_unix_server(lead, path):
        yield


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_haproxy_takes_it(plan: Plan, tmp_path: Path) -> None:
    """HAProxy finds no fault with any variant."""
    cert_file, _ = certificate(tmp_path)
    here = {
        "gate": plan.gate if plan.gate.startswith("unix:") else "http://127.0.0.1:8080",
        "upstream": plan.upstream.replace("kong.dashboard.svc", "127.0.0.1"),
        "upstream_ca_file": cert_file,
        "cert_file": cert_file,
        "listen": "127.0.0.1:8443",
    }
    divide(render(replace(plan, **here)), tmp_path)
    done = subprocess.run([PROGRAM, "-c", "-f", "haproxy.cfg"], cwd=tmp_path, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "WARNING" not in said
    assert "ALERT" not in said


async def test_the_second_bearer_is_kept_back(tmp_path: Path) -> None:
    """A token among a websocket's protocols, which an API server would believe, does not reach the UI."""
    async with asking(tmp_path) as peer:
        await keeps_the_second_bearer_back(peer)


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_in_chromium(people: People, tmp_path: Path) -> None:
    """A real browser, over TLS and HTTP/2, gets to work, and to a terminal that answers."""
    async with asking(tmp_path, secure=True) as peer:
        await works_in_chromium(await people(ignore_https_errors=True), peer)
