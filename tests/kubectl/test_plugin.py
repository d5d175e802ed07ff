"""The plugin: what is kept while it is good, and one login for all who wait."""

import asyncio
import json
from typing import Any

import pytest

from oidcgate.errors import (
    AuthorizationError,
    ConfigError,
    InvalidIdToken,
    InvalidMetadata,
    OidcgateError,
    Problem,
    ProviderUnreachable,
    TokenError,
)
from oidcgate.kubectl.account import CredentialError
from oidcgate.kubectl.entry import Token
from oidcgate.kubectl.plugin import WAITING, Plugin, explain
from tests.kubectl.support import Desk


def plugin(desk: Desk, audience: str = "", sign_in: Any = None, **ways: Any) -> Plugin:
    """The plugin for one cluster."""
    account = desk.account(audience)
    made = sign_in or (lambda: desk.sign_in(account, **ways))
    return Plugin(account, desk.cache(), sign_in=made, say=desk.said.append, clock=desk.clock)


def never() -> Any:
    """Nobody may be asked."""
    raise AssertionError("nobody was to be asked")


async def test_a_good_token_is_given(desk: Desk) -> None:
    """Without a word to the issuer, to be asked for again a minute before its end."""
    token = await desk.token()
    desk.issuer.calls.clear()
    answer = json.loads(plugin(desk, sign_in=never).get())
    assert answer["status"]["token"] == token.id_token
    assert answer["status"]["expirationTimestamp"].endswith("Z")
    assert not desk.issuer.calls


async def test_a_token_that_is_used_up(desk: Desk) -> None:
    """Is renewed a minute before its end."""
    token = await desk.token()
    desk.clock.ahead = token.expires - desk.clock() - 59
    answer = json.loads(await asyncio.to_thread(plugin(desk).get))
    assert answer["status"]["token"] != token.id_token


async def test_failures_are_shared(desk: Desk) -> None:
    """Whoever waited for a login that failed hears the same, and opens nothing; whoever comes later tries."""
    asked = 0

    class Failing:
        async def token(self, _entry: object) -> Token:
            nonlocal asked
            asked += 1
            raise CredentialError("no luck")

    first = plugin(desk, sign_in=Failing)
    began = desk.clock()
    with pytest.raises(CredentialError, match="no luck"):
        await asyncio.to_thread(first.get)
    with pytest.raises(CredentialError, match="no luck"):
        first._got(began)
    assert asked == 1
    desk.clock.ahead += 1
    with pytest.raises(CredentialError, match="no luck"):
        await asyncio.to_thread(first.get)
    assert asked == 2


async def test_whoever_waits_takes_what_the_first_stored(desk: Desk) -> None:
    """And says that it waits."""
    with desk.cache().lock(lambda: None):
        waiting = asyncio.create_task(asyncio.to_thread(plugin(desk, sign_in=never).get))
        while WAITING not in desk.said:
            await asyncio.sleep(0)
        token = await desk.sign_in(desk.account()).token(None)
    assert json.loads(await waiting)["status"]["token"] == token.id_token


async def test_status(desk: Desk) -> None:
    """Who, for whom, and until when; no token is shown."""
    assert not plugin(desk).status().is_signed_in
    token = await desk.token("one")
    found = plugin(desk, "one").status()
    assert found.is_signed_in
    assert "alice@example.com" in found.text
    assert "(this one): good until" in found.text
    assert "renewed by itself" in found.text
    assert token.id_token not in found.text
    other = plugin(desk, "two").status()
    assert (other.is_signed_in, "needs a new sign-in" in other.text) == (False, True)
    desk.clock.ahead += 2 * 86400
    found = plugin(desk, "one").status()
    assert (found.is_signed_in, "expired" in found.text) == (True, True)


async def test_logout(desk: Desk) -> None:
    """What is kept is gone, and the sentence says what that is worth."""
    assert plugin(desk).logout() == "Nobody was signed in."
    await desk.token()
    said = await asyncio.to_thread(plugin(desk).logout)
    assert "could not revoke" in said
    assert desk.cache().read() is None


@pytest.mark.parametrize(
    ("revoked", "words"), [(True, "revoked at the issuer"), (ProviderUnreachable("x"), "could not")]
)
async def test_logout_revokes(desk: Desk, revoked: Any, words: str) -> None:
    """Where the issuer can; the tokens are deleted whatever it does."""
    await desk.token()
    given: list[str] = []

    class Revoking:
        async def revoke(self, token: str) -> bool:
            given.append(token)
            if isinstance(revoked, Exception):
                raise revoked
            return bool(revoked)

    kept = desk.kept().refresh_token
    said = await asyncio.to_thread(plugin(desk, sign_in=Revoking).logout)
    assert words in said
    assert given == [kept]
    assert desk.cache().read() is None


async def test_logout_without_a_refresh_token(desk: Desk) -> None:
    """There is nothing to revoke."""
    desk.issuer.quirks.token_reply = lambda reply: {n: v for n, v in reply.items() if n != "refresh_token"}
    await desk.token()
    assert plugin(desk, sign_in=never).logout() == "Signed out: the tokens are deleted from this machine."


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (CredentialError("as it is"), "as it is"),
        (ConfigError([Problem("provider.ca_file", "nowhere")]), "check --ca-file"),
        (ProviderUnreachable("gone"), "does not answer"),
        (AuthorizationError("invalid_scope"), "trustedPeers of the client 'one' must name 'kubectl'"),
        (AuthorizationError("access_denied"), "if that was a mistake"),
        (AuthorizationError("server_error"), "run the command again"),
        (TokenError("invalid_client", status_seen=401), "does not know the client 'kubectl'"),
        (TokenError("server_error", status_seen=500), "run the command again"),
        (InvalidIdToken("exp", "too late"), "check the clock"),
        (InvalidMetadata("issuer: other"), "tell whoever runs it"),
    ],
)
def test_what_is_said(error: OidcgateError, words: str, tmp_path: Any) -> None:
    """One sentence that says what to do."""
    desk = Desk(tmp_path)
    desk.issuer._origin = "https://dex.example.com"
    said = explain(error, desk.account("one"))
    assert words in said
    assert "\n" not in said
