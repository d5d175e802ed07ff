"""Getting a token: renewed where that is possible, else by a login."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oidcgate.errors import AuthorizationError, InvalidIdToken, ProviderError, ProviderUnreachable, TokenError
from oidcgate.kubectl import signin as module
from oidcgate.kubectl.signin import proxy_for
from tests.kubectl.support import Desk

DAY = 86400


async def test_login(desk: Desk) -> None:
    """The ID token is kept with the refresh token, and is for nobody but the client."""
    token = await desk.token()
    assert desk.claims(token.id_token)["aud"] == "kubectl"
    kept = desk.kept()
    assert kept.tokens[desk.account().slot] == token
    assert kept.refresh_token
    assert kept.claims.email == "alice@example.com"
    assert "Open this address in a browser" in desk.said[0]


async def test_renewal(desk: Desk) -> None:
    """Nobody is asked; the new refresh token is kept."""
    first, old = await desk.token(), desk.kept()
    desk.clock.ahead += DAY
    second = await desk.token()
    assert second.expires > first.expires
    assert desk.kept().refresh_token not in (None, old.refresh_token)
    assert len(desk.pages) == 1


async def test_rotation_is_stored_before_anything_else(desk: Desk) -> None:
    """A token that is refused does not cost the refresh token; here a login follows, and it ends well."""
    await desk.token()
    old = desk.kept()
    desk.issuer.quirks.claims = lambda claims: claims | {"sub": "somebody-else"}
    desk.login = None
    with pytest.raises(Exception, match="nobody signed in"):
        await desk.token(limit=0.01)
    assert desk.kept().refresh_token != old.refresh_token
    assert desk.kept().tokens == old.tokens


@pytest.mark.parametrize("way", ["revoked", "forgotten", "superseded"])
async def test_a_dead_refresh_token(desk: Desk, way: str) -> None:
    """Dex calls it invalid_request; it means a new login, once."""
    await desk.token()
    match way:
        case "revoked":
            desk.issuer.refresh_tokens.revoke("demo-0001")
        case "forgotten":
            desk.issuer.forget()
        case _:
            used = desk.kept()
            desk.clock.ahead += DAY
            await desk.token()
            desk.cache().write(used)
    desk.clock.ahead += DAY
    token = await desk.token()
    assert desk.claims(token.id_token)["email"] == "alice@example.com"
    assert len(desk.pages) == 2


async def test_the_issuer_is_away(desk: Desk) -> None:
    """Nobody is sent to a login: what has some seconds left is used, and after that it is an error."""
    token = await desk.token()
    desk.issuer.quirks.fail["token"] = 503
    desk.clock.ahead = token.expires - desk.clock() - 30
    assert await desk.token() == token
    desk.clock.ahead += 31
    with pytest.raises(TokenError):
        await desk.token()
    await desk.issuer.stop()
    with pytest.raises(ProviderUnreachable):
        await desk.token()
    assert len(desk.pages) == 1
    assert desk.kept().refresh_token


async def test_an_unknown_client(desk: Desk) -> None:
    """Is the operator's mistake; the refresh token is kept for when it is put right."""
    await desk.token()
    client = desk.issuer.clients.pop("kubectl")
    desk.clock.ahead += DAY
    with pytest.raises(TokenError, match="invalid_client"):
        await desk.token()
    desk.issuer.add_client(client)
    assert (await desk.token()).id_token
    assert len(desk.pages) == 1


async def test_one_cluster(desk: Desk) -> None:
    """Its token is for it alone."""
    token = await desk.token("one")
    claims = desk.claims(token.id_token)
    assert (claims["aud"], claims["azp"]) == (["one", "kubectl"], "kubectl")
    desk.clock.ahead += DAY
    assert desk.claims((await desk.token("one")).id_token)["aud"] == ["one", "kubectl"]
    assert len(desk.pages) == 1


async def test_several_clusters(desk: Desk) -> None:
    """A login for the second keeps the first alive; each token opens one, and the wide one is never kept."""
    first = await desk.token("one")
    second = await desk.token("two")
    assert desk.claims(second.id_token)["aud"] == ["two", "kubectl"]
    kept = desk.kept()
    assert kept.tokens == {desk.account("one").slot: first, desk.account("two").slot: second}
    assert len(desk.pages) == 2
    desk.clock.ahead += DAY
    assert desk.claims((await desk.token("one")).id_token)["aud"] == ["one", "kubectl"]
    assert desk.claims((await desk.token("two")).id_token)["aud"] == ["two", "kubectl"]
    assert desk.claims((await desk.token()).id_token)["aud"] == "kubectl"
    assert len(desk.pages) == 2


async def test_a_cluster_that_is_gone(desk: Desk) -> None:
    """It does not lock people out of the others."""
    await desk.token("one")
    desk.issuer.clients["one"] = replace(desk.issuer.clients["one"], trusted_peers=())
    token = await desk.token("two")
    assert desk.claims(token.id_token)["aud"] == ["two", "kubectl"]
    assert any("no longer grants" in sentence for sentence in desk.said)


async def test_a_cluster_that_does_not_trust_kubectl(desk: Desk) -> None:
    """Is refused by the issuer, once."""
    desk.issuer.clients["one"] = replace(desk.issuer.clients["one"], trusted_peers=())
    with pytest.raises(AuthorizationError, match="invalid_scope"):
        await desk.token("one")
    assert len(desk.pages) == 1


def wide(reply: dict[str, Any]) -> dict[str, Any]:
    """An issuer that gives no refresh token."""
    return {name: value for name, value in reply.items() if name != "refresh_token"}


async def test_without_refresh_tokens(desk: Desk) -> None:
    """A login each, for one cluster; the other's token is kept for as long as it lives."""
    desk.issuer.quirks.token_reply = wide
    first = await desk.token("one")
    second = await desk.token("two")
    assert desk.claims(second.id_token)["aud"] == ["two", "kubectl"]
    assert desk.kept().tokens == {desk.account("one").slot: first, desk.account("two").slot: second}


async def test_another_person(desk: Desk) -> None:
    """Whoever signs in next shares no token with the one before."""
    await desk.token("one")
    desk.issuer.refresh_tokens.revoke("demo-0001")
    desk.login = "bob"
    await desk.token("two")
    assert set(desk.kept().tokens) == {desk.account("two").slot}
    assert desk.kept().claims.email == "bob@example.com"


async def test_an_issuer_that_narrows_nothing(desk: Desk) -> None:
    """Its wide token is given to no cluster: there is one more login, for the one."""
    await desk.token("one")
    desk.issuer.quirks.claims = lambda claims: (
        claims if "c_hash" in claims else claims | {"aud": ["one", "two", "kubectl"], "azp": "kubectl"}
    )
    token = await desk.token("two")
    assert desk.claims(token.id_token)["aud"] == ["two", "kubectl"]
    assert any("narrows no token" in sentence for sentence in desk.said)


async def test_a_login_whose_token_is_for_others(desk: Desk) -> None:
    """An audience that was asked for must be there."""
    desk.issuer.quirks.claims = lambda claims: claims | {"aud": "kubectl"}
    with pytest.raises(InvalidIdToken, match=r"expected.*one"):
        await desk.token("one")
    assert desk.cache().read() is None


async def test_device(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is asked for, or when there is no screen and nobody said how."""

    async def at_once(_seconds: float) -> None:
        while not desk.pages:
            await module.asyncio.sleep(0.01)

    for name in module.os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"}:
        monkeypatch.delenv(name)
    monkeypatch.setattr(
        "oidcgate.kubectl.device.DeviceLogin.__init__.__kwdefaults__", {"sleep": at_once, "clock": desk.clock}
    )
    assert (await desk.token(device=True)).id_token
    assert "on any device" in desk.said[0]
    desk.cache().drop()
    desk.pages.clear()
    assert (await desk.token(opens=True)).id_token
    assert "on any device" in desk.said[1]


async def test_no_screen_and_no_device_flow(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is shown, to be opened by hand."""
    for name in module.os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"}:
        monkeypatch.delenv(name)
    desk.issuer.quirks.discovery = lambda document: {
        name: value for name, value in document.items() if name != "device_authorization_endpoint"
    }
    assert (await desk.token(opens=True)).id_token
    assert "Open this address" in desk.said[0]


async def test_a_browser_that_does_not_open(desk: Desk) -> None:
    """The address is shown then."""
    assert (await desk.token(opens=True, command="/nowhere/browser")).id_token
    assert desk.said[0] == "Sign in in the browser window that opens now."
    assert "Open this address" in desk.said[1]


async def test_revocation(desk: Desk) -> None:
    """Where the issuer has an endpoint for it; Dex has none."""
    account = desk.account()
    assert await desk.sign_in(account).revoke("x") is False
    await desk.issuer.stop()
    assert await desk.sign_in(account).revoke("x") is False


async def test_nonsense_from_the_issuer(desk: Desk) -> None:
    """Is an error, and nothing is kept."""
    desk.issuer.quirks.token_reply = lambda _reply: b"{"
    with pytest.raises(ProviderError):
        await desk.token()
    assert desk.cache().read() is None


def test_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment's, but for what is excepted, and for this machine."""
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert proxy_for("https://dex.example.com/dex") == "http://proxy.example:3128"
    assert proxy_for("https://dex.inside.example/dex") is None
    assert proxy_for("https://localhost:5556/dex") is None
