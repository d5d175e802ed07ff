"""The door: bearer in, caller or refusal out."""

import aiohttp
import pytest

from oidcgate.demo.ui import DemoUI
from oidcgate.demo.ui.access import not_found

from .conftest import TinyIssuer


async def test_no_token_is_the_api_servers_401(ui: DemoUI, http: aiohttp.ClientSession) -> None:
    """A Status object without a hint, and no WWW-Authenticate."""
    reply = await http.get(f"{ui.url}/api/v1/me")
    assert reply.status == 401
    assert await reply.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Unauthorized",
        "reason": "Unauthorized",
        "code": 401,
    }
    assert "WWW-Authenticate" not in reply.headers
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Cache-Control"] == "no-cache, private"


@pytest.mark.parametrize("prefix", ["bearer ", "BEARER ", "Basic ", "Bearer", "Bearer  ", ""])
async def test_the_prefix_is_exact(ui: DemoUI, http: aiohttp.ClientSession, issuer: TinyIssuer, prefix: str) -> None:
    """Only `Bearer`, one space and the token count."""
    reply = await http.get(f"{ui.url}/api/v1/me", headers={"Authorization": prefix + issuer.token()})
    assert reply.status == 401


async def test_a_bad_token_is_not_told_why(ui: DemoUI, http: aiohttp.ClientSession, issuer: TinyIssuer) -> None:
    """A wrong signature reads like no token."""
    headers = {"Authorization": f"Bearer {issuer.token(key='second')}"}
    reply = await http.get(f"{ui.url}/api/v1/me", headers=headers)
    assert (reply.status, (await reply.json())["message"]) == (401, "Unauthorized")


async def test_cookies_and_other_headers_are_no_token(
    ui: DemoUI, http: aiohttp.ClientSession, issuer: TinyIssuer
) -> None:
    """Nothing but Authorization is believed."""
    token = issuer.token()
    headers = {"Cookie": f"jweToken={token}; token={token}", "jweToken": token, "X-Forwarded-User": "alice"}
    assert (await http.get(f"{ui.url}/api/v1/me", headers=headers)).status == 401


def test_not_found_names_the_object() -> None:
    """The API server's words for what is not there."""
    error = not_found("pods", "x")
    assert (error.code, error.reason, str(error)) == (404, "NotFound", 'pods "x" not found')
