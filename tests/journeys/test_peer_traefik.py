"""The real Traefik asks the gate, with the two files that `oidcgate snippet traefik` prints."""

import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from oidcgate.snippets.traefik import render
from tests.lab.denials import ADMINS_ONLY, refuses_each_spelling, refuses_in_the_gate_s_words, stays_away
from tests.lab.peers import AskedStack, Peer, hold_to_document, listening, said_by
from tests.lab.scenario import LIMIT, walk, works_in_chromium
from tests.support.chromium import People

pytestmark = pytest.mark.real

PROGRAM = Path(sys.executable).parent / "traefik"
LIMITS = {"cookie kept back": "passes all cookies"}


@asynccontextmanager
async def asking(**options: Any) -> AsyncIterator[Peer]:
    """Traefik before the UI, and the gate that it asks."""
    async with AskedStack(**options) as stack:
        with tempfile.TemporaryDirectory(prefix="oidcgate-traefik-") as name:
            folder = Path(name)
            _, *parts = re.split(r"^# ---- file: (\S+)\n", render(stack.plan()), flags=re.MULTILINE)
            for file, text in zip(parts[::2], parts[1::2], strict=True):
                (folder / file).write_text(text)
            async with listening(PROGRAM, "--configFile=traefik.yaml", port=stack.peer_port, cwd=folder):
                peer = Peer("traefik", stack, LIMITS)
                await routed(peer)
                yield peer


async def routed(peer: Peer) -> None:
    """Traefik listens before it has read its routes; wait until it has them."""
    scheme, host = peer.site.split("://")
    url = f"{scheme}://127.0.0.1:{peer.port}/"
    async with asyncio.timeout(LIMIT), aiohttp.ClientSession() as session:
        while True:
            with suppress(aiohttp.ClientConnectionError):  # it knows no certificate yet
                async with session.get(url, headers={"Host": host}, ssl=False, allow_redirects=False) as reply:
                    if reply.status != 404:
                        return
            await asyncio.sleep(0.02)


async def test_everything_works_through_traefik() -> None:
    """The whole walk; the document's row is what came of it."""
    async with asking() as peer:
        found = re.search(r"Version:\s+(\S+)", said_by(str(PROGRAM), "version"))
        assert found is not None
        hold_to_document("traefik", found[1], await walk(peer))


async def test_with_one_cookie_for_all_hosts() -> None:
    """The whole walk where logins end on another host, and nothing but the question leads from the UI's to the gate."""
    async with asking(shared=True) as peer:
        assert {name: text for name, text in (await walk(peer)).items() if text != "yes"} == LIMITS


async def test_an_outage_lets_nobody_through() -> None:
    """While the gate is away nobody gets through and nobody is signed out."""
    async with asking() as peer:
        assert [page.status for page in await stays_away(peer)] == [500, 500]


async def test_a_refusal_is_the_gate_s_own_page() -> None:
    """Scripts of the Dashboard get the text that its code knows; whom the site is not open to, a page that says so."""
    async with asking(site={"upstream": {"ui": "dashboard-7"}, "access": ADMINS_ONLY}) as peer:
        await refuses_in_the_gate_s_words(peer)


async def test_rules_hold_in_each_spelling() -> None:
    """Whom a path is closed to gets it under no other spelling: what is asked about is what the UI would get."""
    async with asking(site={"access": ADMINS_ONLY}) as peer:
        await refuses_each_spelling(peer)


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_in_chromium(people: People, secure: bool) -> None:
    """A real browser gets to work, and to a terminal that answers."""
    async with asking(secure=secure) as peer:
        person = await people(ignore_https_errors=True)
        await works_in_chromium(person, peer)
        await person.context.close()  # or Traefik would wait for its terminal
