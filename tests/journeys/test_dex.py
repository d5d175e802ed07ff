"""The same journeys with a real Dex, when OIDCGATE_TEST_DEX names its binary."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from playwright.async_api import expect

from tests.support.browser import Browser, Page
from tests.support.chromium import People
from tests.support.processes import free_ports, live, program, renew, stack_at
from tests.support.stack import Stack

DEX = os.environ.get("OIDCGATE_TEST_DEX")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DEX, reason="OIDCGATE_TEST_DEX does not name a dex binary"),
]
# bcrypt of "alice", cost 10, made for this test
HASH = "$2b$10$5stl/0TcB6/l/L/SCqmJN.IDiVKQiJ9S7T0tNP3lZXhYI4XcKxkbS"
SECRET = "a-secret-for-tests"


def configuration(issuer: str, listen: str, site: str, *, life: str, reuse: str) -> dict[str, object]:
    """Dex's configuration: one person, one client, everything in memory."""
    person = {
        "email": "alice@example.com",
        "username": "alice",
        "preferredUsername": "alice",
        "emailVerified": True,
        "hash": HASH,
        "groups": ["platform-admins"],
        "userID": "08a8684b-db88-4b73-90a9-3cd1661f5466",
    }
    return {
        "issuer": issuer,
        "storage": {"type": "memory"},
        "web": {"http": listen},
        "oauth2": {"skipApprovalScreen": True},
        "expiry": {"idTokens": life, "refreshTokens": {"reuseInterval": reuse}},
        "staticClients": [
            {"id": "gate", "name": "gate", "secret": SECRET, "redirectURIs": [f"{site}/oauth2/callback"]}
        ],
        "enablePasswordDB": True,
        "staticPasswords": [person],
    }


@asynccontextmanager
async def stack_with(folder: Path, *, life: str = "10m", reuse: str = "30s") -> AsyncIterator[Stack]:
    """Dex, the demo UI, which believes it, and the gate."""
    port = free_ports(2)
    issuer = f"http://localhost:{port}/dex"
    site = f"http://localhost:{port + 1}"
    file = folder / "dex.yaml"
    file.write_text(yaml.safe_dump(configuration(issuer, f"127.0.0.1:{port}", site, life=life, reuse=reuse)))
    async with program(str(DEX), "serve", file, ready="listening on"):
        async with stack_at(issuer, "gate", SECRET, port=port + 1) as stack:
            yield stack


async def sign_in(browser: Browser, url: str) -> Page:
    """Through Dex's form."""
    return await browser.submit(await browser.open(url), login="alice@example.com", password="alice")


async def test_login_and_renewals(tmp_path: Path) -> None:
    """A deep link arrives exactly, with the person's own token; two renewals in a row bring new ones."""
    async with stack_with(tmp_path) as stack:
        browser = Browser()
        url = f"{stack.url}/?a=b%20c#/pods/shop"
        page = await sign_in(browser, url)
        assert (page.status, page.url) == (200, url)
        me = json.loads((await browser.fetch(f"{stack.url}/api/v1/me")).text)
        assert (me["username"], me["groups"]) == ("alice@example.com", ["platform-admins"])
        for _ in range(2):
            await renew(stack, browser)
        assert (await browser.fetch(f"{stack.url}/api/v1/me")).status == 200


@pytest.mark.parametrize("reuse", ["0s", "30s"])
async def test_second_browser_of_the_same_person(tmp_path: Path, reuse: str) -> None:
    """Dex deletes the first browser's refresh token at the second login; both go on, on the one that is left."""
    async with stack_with(tmp_path, reuse=reuse) as stack:
        first, second = Browser(), Browser()
        await sign_in(first, f"{stack.url}/")
        lost = live(stack, first).shared.grant.refresh_token
        await sign_in(second, f"{stack.url}/")
        assert live(stack, first).shared.grant.refresh_token != lost
        for browser in (first, second, first):
            await renew(stack, browser)
            for other in (first, second):
                assert (await other.fetch(f"{stack.url}/api/v1/me")).status == 200


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
async def test_a_day_in_chromium(tmp_path: Path, people: People) -> None:
    """Dex's form, a terminal that outlives two tokens, and the way out."""
    async with stack_with(tmp_path, life="4s", reuse="0s") as stack:
        person = await people()
        url = f"{stack.url}/#/pod/shop/cart-7d9f5c8b6d-x2x7k/shell"
        page = await person.tab(url)
        await page.fill("#login", "alice@example.com")
        await page.fill("#password", "alice")
        await page.press("#password", "Enter")
        await page.wait_for_url(url)
        person.complaints.clear()  # Dex's pages are not ours
        await expect(page.locator("#terminal-status")).to_have_text("connected")
        await page.evaluate("void setInterval(() => fetch('api/v1/me'), 250)")
        assert stack.ui is not None
        await stack.ui.wait_for(
            lambda ui: len({arrival.token_exp for arrival in ui.arrivals} - {None}) >= 3, timeout=20
        )
        assert stack.ui.expired_tokens == 0
        await page.keyboard.type("whoami\n")
        await expect(page.locator("#terminal")).to_contain_text("believes you are alice@example.com")
        other = await person.tab(f"{stack.url}/oauth2/sign_out")
        await other.get_by_role("button", name="Sign out").click()
        await other.wait_for_url(f"{stack.url}/oauth2/signed_out")
        await expect(page.locator("#terminal-status")).to_contain_text("Session ended: the person signed out")
        assert person.complaints == []
