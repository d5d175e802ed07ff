"""The demo issuer's device flow, as Dex v2.45.1 has it."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from oidcgate.demo.issuer import DEMO_PEOPLE, Client, DemoIssuer
from oidcgate.demo.issuer_device import DEVICE_GRANT
from oidcgate.oidc.authorization import challenge
from tests.support.browser import Browser
from tests.support.stack import Clock, signing_key

VERIFIER = "v" * 43
SCOPES = "openid email groups offline_access"


class Asking:
    """A program without a browser, and an issuer."""

    def __init__(self, issuer: DemoIssuer, clock: Clock, http: aiohttp.ClientSession) -> None:
        self.issuer, self.clock, self.http = issuer, clock, http
        self.browser = Browser()

    async def post(self, path: str, **form: str) -> tuple[int, Any]:
        """A form's answer."""
        async with self.http.post(self.issuer.url + path, data=form) as reply:
            return reply.status, await reply.json(content_type=None)

    async def code(self, **changes: str) -> dict[str, Any]:
        """A code, with PKCE unless told otherwise."""
        pkce = {"code_challenge": challenge(VERIFIER), "code_challenge_method": "S256"}
        status, body = await self.post("/device/code", **{"client_id": "cli", "scope": SCOPES, **pkce, **changes})
        assert status == 200, body
        return dict(body)

    async def poll(self, code: dict[str, Any], verifier: str | None = VERIFIER) -> tuple[int, Any]:
        """Ask for the tokens."""
        form = {} if verifier is None else {"code_verifier": verifier}
        return await self.post("/token", grant_type=DEVICE_GRANT, device_code=code["device_code"], **form)

    async def agree(self, code: dict[str, Any]) -> str:
        """Type the code in and sign in; the last page."""
        page = await self.browser.open(code["verification_uri"])
        page = await self.browser.submit(page, user_code=code["user_code"].lower())
        if "password" in page.text:
            page = await self.browser.submit(page, login="alice", password="alice")
        return page.text


@pytest.fixture
async def asking() -> AsyncIterator[Asking]:
    """Both."""
    clock = Clock()
    clients = (Client("cli", None, ()), Client("closed", "s3cret", ("/device/callback",)))
    issuer = DemoIssuer(DEMO_PEOPLE, clients, key=signing_key(), clock=clock)
    await issuer.start()
    async with aiohttp.ClientSession() as http:
        yield Asking(issuer, clock, http)
    await issuer.stop()


async def test_whole(asking: Asking) -> None:
    """Pending, then the tokens, as often as they are asked for, by a media type that Go guesses."""
    code = await asking.code()
    assert (code["interval"], code["expires_in"]) == (5, 300)
    assert code["verification_uri_complete"] == f"{code['verification_uri']}?user_code={code['user_code']}"
    assert await asking.poll(code) == (400, {"error": "authorization_pending"})
    assert "may go on" in await asking.agree(code)
    for _ in range(2):
        status, tokens = await asking.poll(code)
        assert status == 200
        claims = asking.issuer.keys.verify(tokens["id_token"], issuer=asking.issuer.url)
        assert (claims["aud"], claims["email"], "nonce" in claims) == ("cli", "alice@example.com", False)
        assert tokens["refresh_token"]
    form = {"grant_type": DEVICE_GRANT, "device_code": code["device_code"], "code_verifier": VERIFIER}
    async with asking.http.post(f"{asking.issuer.url}/token", data=form) as reply:
        assert reply.content_type == "text/plain"


async def test_too_fast(asking: Asking) -> None:
    """The first poll may come at once; each that is too early adds five seconds."""
    code = await asking.code()
    said = []
    for wait in (0, 1, 9, 15):
        asking.clock.ahead += wait
        said.append((await asking.poll(code))[1]["error"])
    assert said == ["authorization_pending", "slow_down", "slow_down", "authorization_pending"]


async def test_too_late(asking: Asking) -> None:
    """The code is of no use after five minutes, on either side."""
    code = await asking.code()
    asking.clock.ahead += 301
    assert await asking.poll(code) == (400, {"error": "expired_token"})
    assert "Invalid or expired user code" in await asking.agree(code)


@pytest.mark.parametrize(
    ("verifier", "error"), [("w" * 43, "invalid_grant"), (None, "invalid_grant"), (VERIFIER, "invalid_request")]
)
async def test_pkce(asking: Asking, verifier: str | None, error: str) -> None:
    """A wrong verifier, none, and one that nobody asked for."""
    none = {"code_challenge": ""} if verifier == VERIFIER else {}
    code = await asking.code(**none)
    await asking.agree(code)
    assert (await asking.poll(code, verifier))[1]["error"] == error


async def test_nonsense(asking: Asking) -> None:
    """Is refused, in the program or in the browser."""
    assert (await asking.poll({"device_code": "x"}))[0] == 400
    assert (await asking.post("/device/code", code_challenge_method="S512"))[0] == 400
    assert (await asking.browser.send("GET", f"{asking.issuer.url}/device/code")).status == 400
    assert (await asking.browser.send("POST", f"{asking.issuer.url}/device")).status == 400
    assert (await asking.browser.send("GET", f"{asking.issuer.url}/device/auth/verify_code")).status == 400
    assert (await asking.browser.send("GET", f"{asking.issuer.url}/device/callback")).status == 400
    wrong = await asking.browser.send("GET", f"{asking.issuer.url}/device/callback?state=a&code=b")
    assert (wrong.status, "user code" in wrong.text) == (400, True)


async def test_a_client_that_keeps_a_secret(asking: Asking) -> None:
    """Is asked for it when the person comes back."""
    code = await asking.code(client_id="closed")
    assert "invalid_client" in await asking.agree(code)


async def test_forgotten(asking: Asking) -> None:
    """A restart with memory storage loses codes."""
    code = await asking.code()
    asking.issuer.forget()
    assert (await asking.poll(code))[1]["error"] == "invalid_request"
