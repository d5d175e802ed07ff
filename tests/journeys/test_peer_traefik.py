"""The real Traefik asks the gate, with the two files that `oidcgate snippet traefik` prints."""

import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from oidcgate.snippets.traefik import render
from tests.journeys.steps import STATUS, TERMINAL, command, fill_in
from tests.lab.peers import AskedStack, Peer, hold_to_document, listening, said_by
from tests.lab.scenario import LIMIT, Jar, me, signed_in, walk
from tests.support.browser import NAVIGATION
from tests.support.chromium import People

pytestmark = pytest.mark.real

PROGRAM = Path(sys.executable).parent / "traefik"
LIMITS = {"cookie kept back": "no: it passes all cookies"}


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
    async with asyncio.timeout(LIMIT):
        while (await Jar().send("GET", f"{peer.site}/", NAVIGATION)).status == 404:
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
        browser = await signed_in(peer)
        await peer.stack.stop_gate()
        for page in (await me(peer, browser), await browser.send("GET", f"{peer.site}/", NAVIGATION)):
            assert page.status == 500
            assert page.reply.values("Set-Cookie") == []


async def test_a_refusal_is_the_gate_s_own_page() -> None:
    """Scripts of the Dashboard get the text that its code knows; whom the site is not open to, a page that says so."""
    rules = [{"path": "/api/*", "groups": ["platform-admins"]}]
    async with asking(site={"upstream": {"ui": "dashboard-7"}, "access": {"rules": rules}}) as peer:
        page = await Jar().fetch(f"{peer.site}/api/v1/pod")
        assert (page.status, page.text) == (401, "MSG_LOGIN_UNAUTHORIZED_ERROR")
        assert page.reply.value("Content-Type").startswith("text/plain")
        page = await me(peer, await signed_in(peer, "bob"))
        assert (page.status, page.reply.value("Cache-Control")) == (403, "no-store")


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_in_chromium(people: People) -> None:
    """A real browser: the login, a deep link with its fragment, and a terminal that answers."""
    async with asking() as peer:
        person = await people()
        url = f"{peer.site}/?a=b%20c#/pod/shop/cart-7d9f5c8b6d-x2x7k/shell"
        page = await person.tab(url)
        await fill_in(page)
        await page.wait_for_url(url)
        await expect(page.locator("#who-name")).to_have_text("alice@example.com")
        await expect(page.locator(STATUS)).to_have_text("connected")
        await command(page, "echo through traefik")
        await expect(page.locator(TERMINAL)).to_contain_text("\nthrough traefik\n")
        assert person.complaints == []
        await page.close()  # Traefik would wait for its terminal
