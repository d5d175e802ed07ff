"""The same journeys with an issuer that is neither ours nor Dex: npm's oidc-provider, certified by the OpenID Foundation."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import jwt
import pytest
from playwright.async_api import Page, expect

from tests.lab.npm import node_modules
from tests.support.browser import Browser
from tests.support.chromium import People, Person, visit
from tests.support.processes import free_ports, live, program, renew, stack_at
from tests.support.raw import fetch, request
from tests.support.stack import Stack

pytestmark = pytest.mark.real

SCRIPT = Path(__file__).parent.parent / "lab" / "oidc_provider.mjs"
LOOPBACK = ("localhost", "127.0.0.1")
POD = "shop/cart-7d9f5c8b6d-x2x7k"


@asynccontextmanager
async def stack_with(*options: str) -> AsyncIterator[Stack]:
    """oidc-provider, the demo UI, which believes it, and the gate."""
    port = free_ports()
    url = f"http://localhost:{port}/oauth2"
    addresses = ("--redirect-uri", f"{url}/callback", "--post-logout-uri", f"{url}/signed_out")
    command = ("node", SCRIPT, "--modules", node_modules(), *addresses, *options)
    async with program(*command, ready='"issuer"') as (_, line):
        told = json.loads(line)
        async with stack_at(told["issuer"], told["client_id"], told["client_secret"], port=port) as stack:
            yield stack


def tokens_seen(stack: Stack) -> list[str]:
    """The different bearers that reached the UI, in order."""
    assert stack.ui is not None
    values = [value for arrival in stack.ui.arrivals for value in arrival.values("Authorization")]
    return list(dict.fromkeys(value.removeprefix("Bearer ") for value in values))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_login_renewals_and_revocation(algorithm: str) -> None:
    """A scripted browser: deep link, the person's own token at the UI, rotation, and revocation at sign-out."""
    async with stack_with("--alg", algorithm) as stack:
        browser = Browser()
        url = f"{stack.url}/?a=b%20c#/pods/shop"
        page = await browser.open(url)
        assert (page.status, page.url) == (200, url)

        me = json.loads((await browser.fetch(f"{stack.url}/api/v1/me")).text)
        assert (me["username"], me["groups"], me["subject"]) == ("alice@example.com", ["platform-admins"], "alice")
        assert jwt.get_unverified_header(tokens_seen(stack)[-1])["alg"] == algorithm

        refresh_tokens = [live(stack, browser).shared.grant.refresh_token]
        for _ in range(2):
            await renew(stack, browser)
            refresh_tokens.append(live(stack, browser).shared.grant.refresh_token)
        assert len(set(refresh_tokens)) == 3, "each renewal brings another refresh token"

        gate = stack.gate
        assert gate is not None
        form = await browser.open(f"{stack.url}/oauth2/sign_out")
        leaving = await browser.submit(form)
        assert leaving.url.startswith(gate.config.provider.issuer), "the issuer's own sign-out comes next"
        async with asyncio.timeout(15):
            await asyncio.gather(*gate.grants._tasks)
        assert await refresh_error(stack, refresh_tokens[-1] or "") == "invalid_grant"
        assert (await browser.fetch(f"{stack.url}/api/v1/me")).status == 401


async def refresh_error(stack: Stack, refresh_token: str) -> str:
    """What the issuer says to somebody who comes with a refresh token."""
    assert stack.gate is not None
    provider = stack.gate.config.provider
    host = provider.issuer.removeprefix("http://")
    secret = Path(str(provider.client_secret_file)).read_text()
    basic = base64.b64encode(f"{provider.client_id}:{secret}".encode()).decode()
    body = f"grant_type=refresh_token&refresh_token={refresh_token}".encode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
    reply = await fetch(
        int(host.rpartition(":")[2]), request("/token", method="POST", host=host, headers=headers, body=body)
    )
    return str(json.loads(reply.body).get("error"))


async def sign_in(person: Person, url: str) -> Page:
    """Through oidc-provider's own pages: a form, and the consent. They ask for a font from elsewhere, and get none."""
    await person.context.route(lambda address: urlsplit(address).hostname not in LOOPBACK, lambda route: route.abort())
    page = await person.tab(url)
    await page.fill("[name=login]", "alice")
    await page.fill("[name=password]", "any")
    await page.press("[name=password]", "Enter")
    await page.get_by_role("button", name="Continue").click()
    await page.wait_for_url(url)
    person.complaints.clear()
    return page


@pytest.mark.browser
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_a_day_in_chromium(people: People, algorithm: str) -> None:
    """Form and consent, deep link, a terminal that outlives two tokens, and the way out through the issuer's own."""
    async with stack_with("--alg", algorithm, "--form", "--id-token-ttl", "3") as stack:
        person = await people()
        url = f"{stack.url}/?a=b%20c#/pod/{POD}/shell"
        page = await sign_in(person, url)
        await expect(page.locator("#terminal-status")).to_have_text("connected")
        await page.evaluate("void setInterval(() => fetch('api/v1/me'), 250)")
        assert stack.ui is not None
        await stack.ui.wait_for(lambda _: len(tokens_seen(stack)) >= 3, timeout=20)
        assert stack.ui.expired_tokens == 0
        await page.keyboard.type("whoami\n")
        await expect(page.locator("#terminal")).to_contain_text("believes you are alice@example.com")
        assert person.complaints == []

        other = await person.tab(f"{stack.url}/oauth2/sign_out")
        await other.get_by_role("button", name="Sign out").click()
        await other.get_by_role("button", name="Yes, sign me out").click()
        await other.wait_for_url(f"{stack.url}/oauth2/signed_out?state=*")
        await expect(other.locator("h1")).to_have_text("You are signed out")
        await expect(page.locator("#terminal-status")).to_contain_text("Session ended: the person signed out")
        await visit(other, f"{stack.url}/")
        await expect(other.locator("[name=login]")).to_be_visible()  # the issuer has forgotten them, too
