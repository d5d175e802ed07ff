"""A login that comes back to a port of this machine."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from oidcgate.cli.credential import page
from oidcgate.errors import AuthorizationError, InvalidIdToken, LoginError, TokenError
from oidcgate.kubectl import login as module
from oidcgate.kubectl.account import CredentialError
from oidcgate.kubectl.login import BrowserLogin, Granted, Waiting
from tests.kubectl.support import Desk
from tests.support.browser import Browser, Page, query

LIMIT = 30.0


@dataclass
class Attempt:
    """A login that waits."""

    browser: Browser
    url: str
    task: asyncio.Task[Granted]

    @property
    def back(self) -> str:
        """Where it waits."""
        return query(self.url)["redirect_uri"]

    async def come(self, headers: dict[str, str] | None = None, method: str = "GET", **fields: str) -> Page:
        """Come back with these parameters."""
        return await self.browser.send(method, f"{self.back}?{urlencode(fields)}", headers)


@pytest.fixture
async def attempt(desk: Desk) -> AsyncIterator[Attempt]:
    """A login that has begun."""
    sign_in = desk.sign_in(desk.account())
    asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    login = BrowserLogin(sign_in._provider, desk.account().wanted, page)
    task = asyncio.create_task(login.run(Waiting(0, LIMIT, asked.set_result)))
    yield Attempt(Browser(), await asked, task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await sign_in._provider.close()


async def test_what_is_asked(attempt: Attempt) -> None:
    """A code, with PKCE, state and nonce, back to loopback by its number."""
    asked = query(attempt.url)
    assert (asked["response_type"], asked["code_challenge_method"], asked["client_id"]) == ("code", "S256", "kubectl")
    assert asked["scope"] == "openid email groups offline_access profile"
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    back = urlsplit(asked["redirect_uri"])
    assert (back.scheme, back.hostname, back.path) == ("http", "127.0.0.1", "/callback")


async def test_login(attempt: Attempt) -> None:
    """The page says so once the tokens are there."""
    shown = await attempt.browser.sign_in(attempt.url)
    assert shown.status == 200
    assert module.SIGNED_IN[0] in shown.text
    token_set, claims = await attempt.task
    assert claims.email == "alice@example.com"
    assert token_set.refresh_token
    assert token_set.id_token not in shown.text


async def test_pages_are_strict(attempt: Attempt) -> None:
    """Nothing from elsewhere, nothing kept, no referrer with a code in it."""
    shown = await attempt.browser.sign_in(attempt.url)
    policy = shown.reply.value("Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert shown.reply.value("Cache-Control") == "no-store"
    assert shown.reply.value("Referrer-Policy") == "no-referrer"
    assert "<script" not in shown.text


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "another", "code": "x"},
        {"state": "another", "error": "access_denied"},
        {"code": "x"},
        {"error": "access_denied"},
        {},
        {"state": "<script>alert(1)</script>", "code": "x"},
    ],
)
async def test_wrong_state(attempt: Attempt, desk: Desk, fields: dict[str, str]) -> None:
    """Gets a page, redeems nothing, and the right answer is waited for as before."""
    shown = await attempt.come(**fields)
    assert shown.status == 400
    assert module.FOREIGN[0] in shown.text
    assert "<script" not in shown.text
    assert desk.issuer.calls["token"] == 0
    assert not attempt.task.done()
    await attempt.browser.sign_in(attempt.url)
    assert (await attempt.task)[1].email == "alice@example.com"


async def test_what_else_comes_in(attempt: Attempt) -> None:
    """Other paths, methods and names of the host get a page, and end nothing."""
    state = query(attempt.url)["state"]
    assert (await attempt.browser.send("GET", attempt.back.replace("/callback", "/favicon.ico"))).status == 404
    assert (await attempt.come(method="POST", state=state, code="x")).status == 404
    assert (await attempt.come(method="HEAD", state=state, code="x")).status == 404
    rebound = {"Host": f"evil.example:{urlsplit(attempt.back).port}"}
    assert (await attempt.come(rebound, state=state, code="x")).status == 421
    assert not attempt.task.done()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"error": "access_denied", "error_description": "<b>no</b>"}, AuthorizationError),
        ({"code": "no-such-code"}, TokenError),
        ({"code": "x", "iss": "https://other.example"}, LoginError),
    ],
)
async def test_an_answer_that_ends_it(attempt: Attempt, fields: dict[str, str], error: type[Exception]) -> None:
    """With the right state: the page says so, and so does the program; no word of the answer is repeated."""
    shown = await attempt.come(state=query(attempt.url)["state"], **fields)
    assert shown.status == 400
    assert module.REFUSED[0] in shown.text
    assert "<b>" not in shown.text
    with pytest.raises(error):
        await attempt.task


async def test_the_first_answer_counts(attempt: Attempt, desk: Desk) -> None:
    """A second one, while the first is redeemed, gets a page and redeems nothing."""
    desk.issuer.quirks.hang.add("token:code")
    login = asyncio.create_task(attempt.browser.sign_in(attempt.url))
    await asyncio.wait_for(desk.issuer.wait_for("token:code"), LIMIT)
    shown = await attempt.come(state=query(attempt.url)["state"], code="x")
    assert (shown.status, module.ONCE_MORE[0] in shown.text) == (200, True)
    desk.issuer.release()
    assert (await login).status == 200
    assert (await attempt.task)[1].email == "alice@example.com"
    assert desk.issuer.calls["token"] == 1


@pytest.mark.parametrize(
    "change",
    [{"nonce": "another"}, {"aud": ["kubectl", "gate"], "azp": "kubectl"}, {"aud": "gate"}, {"iss": "https://x"}],
)
async def test_a_token_that_is_not_right(attempt: Attempt, desk: Desk, change: dict[str, Any]) -> None:
    """Is refused by the gate's own checks, and the page does not say that somebody is signed in."""
    desk.issuer.quirks.claims = lambda claims: claims | change
    shown = await attempt.browser.sign_in(attempt.url)
    assert module.REFUSED[0] in shown.text
    with pytest.raises(InvalidIdToken):
        await attempt.task


async def test_nobody_comes(desk: Desk) -> None:
    """One sentence, after a while."""
    sign_in = desk.sign_in(desk.account())
    with pytest.raises(CredentialError, match="nobody signed in within 1 min"):
        await BrowserLogin(sign_in._provider, desk.account().wanted, page).run(Waiting(0, 0.01, lambda _url: None))
    await sign_in._provider.close()


async def test_the_port_is_taken(desk: Desk) -> None:
    """One sentence that says which, and what else one can do."""
    sign_in = desk.sign_in(desk.account())
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CredentialError, match=f"port {port} of this machine is taken.*--device"):
            await BrowserLogin(sign_in._provider, desk.account().wanted, page).run(Waiting(port, 1.0, desk.say))
    await sign_in._provider.close()
