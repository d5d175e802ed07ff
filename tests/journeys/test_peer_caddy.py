"""The real Caddy asks the gate, with the Caddyfile that `oidcgate snippet caddy` prints."""

import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from oidcgate.snippets.caddy import render
from tests.lab.denials import ADMINS_ONLY, refuses_each_spelling, refuses_in_the_gate_s_words, stays_away
from tests.lab.peers import AskedStack, Peer, hold_to_document, listening, said_by
from tests.lab.scenario import walk, works_in_chromium
from tests.support.chromium import People

pytestmark = pytest.mark.real

PROGRAM = Path(sys.executable).parent / "caddy"


@asynccontextmanager
async def asking(**options: Any) -> AsyncIterator[Peer]:
    """Caddy before the UI, and the gate that it asks."""
    async with AskedStack(**options) as stack:
        with tempfile.TemporaryDirectory(prefix="oidcgate-caddy-") as name:
            folder = Path(name)
            (folder / "Caddyfile").write_text(render(stack.plan()))
            places = (f"{key}={folder}" for key in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"))
            command = ("env", *places, f"CADDY_ADMIN=unix/{folder}/admin.sock", PROGRAM, "run")
            async with listening(*command, port=stack.peer_port, cwd=folder):
                yield Peer("caddy", stack)


async def test_everything_works_through_caddy() -> None:
    """The whole walk; the document's row is what came of it."""
    async with asking() as peer:
        version = said_by(str(PROGRAM), "version").split()[0].removeprefix("v")
        hold_to_document("caddy", version, await walk(peer))


async def test_with_one_cookie_for_all_hosts() -> None:
    """The whole walk where logins end on another host, and nothing but the question leads from the UI's to the gate."""
    async with asking(shared=True) as peer:
        assert {name: text for name, text in (await walk(peer)).items() if text != "yes"} == {}


async def test_an_outage_lets_nobody_through() -> None:
    """While the gate is away nobody gets through and nobody is signed out."""
    async with asking() as peer:
        assert [page.status for page in await stays_away(peer)] == [502, 502]


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
        await person.context.close()  # or Caddy would wait for its terminal
