"""The real Envoy asks the gate, with the bootstrap file that `oidcgate snippet envoy` prints."""

import re
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from oidcgate.snippets.envoy import render
from tests.lab.denials import ADMINS_ONLY, refuses_each_spelling, refuses_in_the_gate_s_words, stays_away, tries_again
from tests.lab.peers import AskedStack, Peer, hold_to_document, listening, said_by
from tests.lab.scenario import walk, works_in_chromium
from tests.support.chromium import People

pytestmark = pytest.mark.real

PROGRAM = Path(sys.executable).parent / "envoy"


@asynccontextmanager
async def asking(**options: Any) -> AsyncIterator[Peer]:
    """Envoy before the UI, and the gate that it asks."""
    async with AskedStack(**options) as stack:
        with tempfile.TemporaryDirectory(prefix="oidcgate-envoy-") as name:
            file = Path(name, "envoy.yaml")
            file.write_text(render(stack.plan()))
            command = (PROGRAM, "--disable-hot-restart", "--concurrency", "2", "--log-level", "warning", "-c", file)
            async with listening(*command, port=stack.peer_port):
                yield Peer("envoy", stack)


def version() -> str:
    """Such as 1.40.0."""
    found = re.search(r"/(\d+\.\d+\.\d+)/", said_by(str(PROGRAM), "--version"))
    assert found is not None
    return found[1]


async def test_everything_works_through_envoy() -> None:
    """The whole walk; the document's row is what came of it."""
    async with asking() as peer:
        hold_to_document("envoy", version(), await walk(peer))


async def test_with_one_cookie_for_all_hosts() -> None:
    """The whole walk where logins end on another host, and nothing but the question leads from the UI's to the gate."""
    async with asking(shared=True) as peer:
        assert {name: text for name, text in (await walk(peer)).items() if text != "yes"} == {}


async def test_an_outage_is_503() -> None:
    """While the gate is away nobody gets through and nobody is signed out: 503, and the page tries again."""
    async with asking() as peer:
        pages = await stays_away(peer)
        tries_again(pages)
        assert all("tries again by itself" in page.text for page in pages)


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
        await person.context.close()  # or Envoy would wait for its terminal
