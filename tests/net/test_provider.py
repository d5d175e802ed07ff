"""
The provider client against a small issuer on a real socket: caching, back-off, limits, and who gets what.
"""

import asyncio
import base64
import datetime
import json
import logging
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import RSAAlgorithm

from oidcgate.errors import (
    ConfigError,
    InvalidIdToken,
    InvalidMetadata,
    ProviderError,
    ProviderUnreachable,
    TokenError,
)
from oidcgate.net.provider import Provider
from oidcgate.oidc.idtoken import Claims
from oidcgate.oidc.tokens import TokenSet
from oidcgate.web.metrics import CALLS

NOW = 1_800_000_000.0
REDEEM: dict[str, Any] = {"redirect_uri": "https://d/oauth2/callback", "verifier": "v" * 43, "nonce": "n-1"}


def b64(data: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def rsa_keys() -> dict[str, rsa.RSAPrivateKey]:
    """Two signing keys by kid."""
    return {kid: rsa.generate_private_key(public_exponent=65537, key_size=2048) for kid in ("one", "two")}


class Issuer:
    """Discovery, keys, tokens and revocation; each answer can be replaced, each request is kept."""

    def __init__(self, keys: dict[str, rsa.RSAPrivateKey]) -> None:
        self.keys = keys
        self.published = ["one"]
        self.signer = "one"
        self.url = ""
        self.calls: Counter[str] = Counter()
        self.requests: list[web.Request] = []
        self.forms: list[dict[str, list[str]]] = []
        self.document: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.reply: dict[str, Any] = {}
        self.answers: dict[str, Callable[[], web.StreamResponse]] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.arrived = asyncio.Event()

    def app(self) -> web.Application:
        """One handler for every path."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Count, wait if told to, answer."""
        name = request.path.rsplit("/", 1)[-1]
        self.calls[name] += 1
        self.requests.append(request)
        self.forms.append(parse_qs(await request.text(), keep_blank_values=True))
        self.arrived.set()
        if name in self.held:
            await self.held[name].wait()
        if name in self.answers:
            return self.answers[name]()
        members = getattr(self, "make_" + name.replace("-", "_"))()
        return web.json_response(members, headers={"Set-Cookie": "who=somebody; Path=/"})

    def make_openid_configuration(self) -> dict[str, Any]:
        """The discovery document."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "revocation_endpoint": f"{self.url}/revoke",
            "code_challenge_methods_supported": ["S256"],
        } | self.document

    def make_keys(self) -> dict[str, Any]:
        """The published keys."""
        return {
            "keys": [
                RSAAlgorithm.to_jwk(self.keys[kid].public_key(), as_dict=True) | {"kid": kid, "use": "sig"}
                for kid in self.published
            ]
        }

    def make_token(self) -> dict[str, Any]:
        """A token reply with a freshly signed ID token."""
        return {"token_type": "bearer", "access_token": "a", "refresh_token": "r2", "id_token": self.id_token()} | (
            self.reply
        )

    def make_revoke(self) -> dict[str, Any]:
        """Revoked."""
        return {}

    def id_token(self) -> str:
        """An ID token by the current signer."""
        claims = {
            "iss": self.url,
            "sub": "jane",
            "aud": "gate",
            "exp": NOW + 3600,
            "iat": NOW,
            "nonce": "n-1",
        } | self.claims
        header = b64(json.dumps({"alg": "RS256", "kid": self.signer}).encode())
        signed = f"{header}.{b64(json.dumps(claims).encode())}"
        signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(signed.encode(), self.keys[self.signer])
        return f"{signed}.{b64(signature)}"


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def issuer(rsa_keys: dict[str, rsa.RSAPrivateKey]) -> AsyncIterator[Issuer]:
    """A running issuer on a port of its own."""
    issuer = Issuer(rsa_keys)
    async with TestServer(issuer.app()) as server:
        issuer.url = f"http://127.0.0.1:{server.port}/dex"
        yield issuer
        for held in issuer.held.values():
            held.set()


@pytest.fixture
def clock() -> Clock:
    """A clock at NOW."""
    return Clock()


@pytest.fixture
async def make(issuer: Issuer, clock: Clock) -> AsyncIterator[Callable[..., Provider]]:
    """Providers of the issuer, closed at the end."""
    made: list[Provider] = []

    def build(**changes: Any) -> Provider:
        arguments: dict[str, Any] = {
            "issuer": issuer.url,
            "client_id": "gate",
            "client_secret": lambda: "s3cret&",
            "scopes": ["openid", "email"],
            "algorithms": ["RS256"],
            "leeway": 10.0,
            "max_token_life": 90_000.0,
            "clock": clock,
            "log": logging.getLogger("test"),
            "jitter": lambda: 1.0,
        }
        made.append(Provider(**(arguments | changes)))
        return made[-1]

    yield build
    for provider in made:
        await provider.close()


@pytest.fixture
def provider(make: Callable[..., Provider]) -> Provider:
    """A provider as the gate builds it."""
    return make()


@pytest.fixture
def previous(issuer: Issuer) -> Claims:
    """The claims of a login just before."""
    return Claims(
        issuer=issuer.url, subject="jane", audience=("gate",), expires=NOW + 60, issued_at=NOW - 60, nonce="n-1"
    )


# Metadata


async def test_metadata_is_fetched_once(provider: Provider, issuer: Issuer) -> None:
    """Callers at the same time share one fetch, later ones its result."""
    got = await asyncio.gather(*(provider.metadata() for _ in range(20)))
    assert all(each is got[0] for each in got)
    assert (await provider.metadata()) is got[0]
    assert got[0].token_endpoint == f"{issuer.url}/token"
    assert issuer.calls == {"openid-configuration": 1}


async def test_metadata_is_renewed_after_an_hour(provider: Provider, issuer: Issuer, clock: Clock) -> None:
    """An hour later the document is read again."""
    await provider.metadata()
    issuer.document = {"end_session_endpoint": f"{issuer.url}/logout"}
    clock.now += 3599
    assert (await provider.metadata()).end_session_endpoint is None
    clock.now += 1
    assert (await provider.metadata()).end_session_endpoint == f"{issuer.url}/logout"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"issuer": "https://other.example.com"}, id="changed-issuer"),
        pytest.param({"jwks_uri": "https://keys.example.net/k"}, id="changed-jwks-host"),
        pytest.param({"token_endpoint": "http://evil.example.net/"}, id="foreign-endpoint"),
    ],
)
async def test_the_last_good_metadata_stays(
    make: Callable[..., Provider],
    issuer: Issuer,
    clock: Clock,
    changes: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A document that became wrong is refused and logged as an error; logins go on with the good one.
    """
    provider = make(endpoint_hosts=frozenset({"keys.example.net"}))
    good = await provider.metadata()
    issuer.document = changes
    clock.now += 3600
    assert (await provider.metadata()) is good
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "the last good one stays" in caplog.text


async def test_the_last_good_metadata_outlives_an_outage(provider: Provider, issuer: Issuer, clock: Clock) -> None:
    """During an outage the provider is asked by the back-off's rhythm, and nobody notices."""
    good = await provider.metadata()
    issuer.answers["openid-configuration"] = lambda: web.Response(status=503)
    clock.now += 4000
    for _ in range(5):
        assert (await provider.metadata()) is good
    assert issuer.calls["openid-configuration"] == 2


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (500, ProviderUnreachable),
        (503, ProviderUnreachable),
        (429, ProviderUnreachable),
        (404, InvalidMetadata),
        (302, InvalidMetadata),
        (204, InvalidMetadata),
    ],
)
async def test_discovery_status(provider: Provider, issuer: Issuer, status: int, error: type[ProviderError]) -> None:
    """An overloaded provider is passing, a wrong address is not; a redirect is never followed."""
    issuer.answers["openid-configuration"] = lambda: web.Response(
        status=status, headers={"Location": f"{issuer.url}/elsewhere"}
    )
    with pytest.raises(error) as caught:
        await provider.metadata()
    assert type(caught.value) is error
    assert issuer.calls == {"openid-configuration": 1}


async def test_back_off(provider: Provider, issuer: Issuer, clock: Clock) -> None:
    """Two seconds, doubling to sixty; in between the answer is at once and nothing is sent."""
    issuer.answers["openid-configuration"] = lambda: web.Response(status=500)
    for number, wait in enumerate([2, 4, 8, 16, 32, 60, 60], start=1):
        with pytest.raises(ProviderUnreachable, match="HTTP 500"):
            await provider.metadata()
        assert issuer.calls["openid-configuration"] == number
        clock.now += wait - 0.01
        with pytest.raises(ProviderUnreachable, match="failed a moment ago"):
            await provider.metadata()
        assert issuer.calls["openid-configuration"] == number
        clock.now += 0.01
    del issuer.answers["openid-configuration"]
    assert await provider.metadata()


async def test_back_off_begins_anew_after_success(provider: Provider, issuer: Issuer, clock: Clock) -> None:
    """A success forgets the failures before it."""
    issuer.answers["openid-configuration"] = lambda: web.Response(status=500)
    for _ in range(3):
        with pytest.raises(ProviderUnreachable):
            await provider.metadata()
        clock.now += 60
    good = issuer.answers.pop("openid-configuration")
    await provider.metadata()
    issuer.answers["openid-configuration"] = good
    clock.now += 3600
    await provider.metadata()
    clock.now += 2
    await provider.metadata()
    assert issuer.calls["openid-configuration"] == 6


async def test_jitter_shortens(make: Callable[..., Provider], issuer: Issuer, clock: Clock) -> None:
    """Jitter takes at most half of the wait away."""
    provider = make(jitter=lambda: 0.0)
    issuer.answers["openid-configuration"] = lambda: web.Response(status=500)
    for _ in range(2):
        with pytest.raises(ProviderUnreachable, match="HTTP 500"):
            await provider.metadata()
        clock.now += 1
    assert issuer.calls["openid-configuration"] == 2


async def test_a_clock_set_back(provider: Provider, issuer: Issuer, clock: Clock) -> None:
    """Neither a back-off nor a cached document lasts longer because the clock was set back."""
    issuer.answers["openid-configuration"] = lambda: web.Response(status=500)
    with pytest.raises(ProviderUnreachable):
        await provider.metadata()
    del issuer.answers["openid-configuration"]
    clock.now -= 86_400
    await provider.metadata()
    clock.now -= 86_400
    await provider.metadata()
    assert issuer.calls["openid-configuration"] == 3


async def test_a_caller_that_leaves(provider: Provider, issuer: Issuer) -> None:
    """A cancelled caller takes nobody's fetch along."""
    issuer.held["openid-configuration"] = asyncio.Event()
    first = asyncio.create_task(provider.metadata())
    await issuer.arrived.wait()
    second = asyncio.create_task(provider.metadata())
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    issuer.held["openid-configuration"].set()
    assert (await second).issuer == issuer.url
    assert issuer.calls["openid-configuration"] == 1


async def test_all_callers_leave_before_a_failure(provider: Provider, issuer: Issuer, clock: Clock) -> None:
    """A failure that nobody waited for is remembered and not reported as lost."""
    issuer.held["openid-configuration"] = asyncio.Event()
    issuer.answers["openid-configuration"] = lambda: web.Response(status=500)
    caller = asyncio.create_task(provider.metadata())
    await issuer.arrived.wait()
    (fetch,) = (task for task in asyncio.all_tasks() if task.get_name().startswith("provider "))
    caller.cancel()
    issuer.held["openid-configuration"].set()
    await asyncio.wait([caller, fetch])
    with pytest.raises(ProviderUnreachable, match="failed a moment ago"):
        await provider.metadata()


async def test_close_while_waiting(provider: Provider, issuer: Issuer) -> None:
    """Closing ends the fetch and tells those who wait; afterwards nothing is sent."""
    issuer.held["openid-configuration"] = asyncio.Event()
    caller = asyncio.create_task(provider.metadata())
    await issuer.arrived.wait()
    await provider.close()
    with pytest.raises(ProviderUnreachable, match="closed"):
        await caller
    with pytest.raises(ProviderUnreachable, match="closed"):
        await provider.metadata()
    assert issuer.calls["openid-configuration"] == 1


async def test_pkce_that_is_not_listed(provider: Provider, issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    """A provider that does not list S256 gets a warning in the log, and S256 all the same."""
    issuer.document = {"code_challenge_methods_supported": ["plain"]}
    await provider.metadata()
    assert "S256" in caplog.text


# Keys


async def test_ready(provider: Provider) -> None:
    """Ready once metadata and keys were seen."""
    seen = [provider.ready]
    assert provider.missing == "metadata"
    await provider.metadata()
    seen.append(provider.ready)
    assert provider.missing == "keys"
    await provider.warm_up()
    assert [*seen, provider.ready] == [False, False, True]
    assert "ready=True" in repr(provider)
    assert "version=1" in repr(provider._keys)


async def test_keys_are_cached(provider: Provider, issuer: Issuer) -> None:
    """One fetch serves every login."""
    keys = await asyncio.gather(*(provider.keys("one", "RS256") for _ in range(20)))
    assert {key.kid for key in keys} == {"one"}
    assert (await provider.keys(None, "RS256")).kid == "one"
    assert issuer.calls["keys"] == 1


async def test_rotation(provider: Provider, issuer: Issuer) -> None:
    """A new kid makes the set be fetched once, shared by all who wait (signing-key-rotation)."""
    await provider.keys("one", "RS256")
    issuer.published = ["two"]
    keys = await asyncio.gather(*(provider.keys("two", "RS256") for _ in range(20)))
    assert {key.kid for key in keys} == {"two"}
    assert issuer.calls["keys"] == 2
    with pytest.raises(InvalidIdToken, match="kid"):
        await provider.keys("one", "RS256")


async def test_unknown_kid_is_asked_for_once_a_minute(provider: Provider, issuer: Issuer, clock: Clock) -> None:
    """However many tokens name unknown keys, the issuer hears of it once in sixty seconds."""
    await provider.keys("one", "RS256")
    for number in range(50):
        with pytest.raises(InvalidIdToken, match="kid"):
            await provider.keys(f"unknown-{number}", "RS256")
    assert issuer.calls["keys"] == 2
    clock.now += 59
    with pytest.raises(InvalidIdToken):
        await provider.keys("unknown", "RS256")
    assert issuer.calls["keys"] == 2
    clock.now += 1
    issuer.published = ["one", "two"]
    assert (await provider.keys("two", "RS256")).kid == "two"
    assert issuer.calls["keys"] == 3


async def test_keys_just_fetched_are_not_fetched_again(provider: Provider, issuer: Issuer) -> None:
    """A kid that a brand-new set lacks is unknown at once."""
    with pytest.raises(InvalidIdToken, match="kid"):
        await provider.keys("unknown", "RS256")
    assert issuer.calls["keys"] == 1


async def test_unknown_kid_during_an_outage(provider: Provider, issuer: Issuer, clock: Clock) -> None:
    """When nobody can tell, that is said, and known keys go on working; afterwards it is asked again."""
    await provider.keys("one", "RS256")
    issuer.answers["keys"] = lambda: web.Response(status=503)
    for _ in range(3):
        with pytest.raises(ProviderUnreachable):
            await provider.keys("two", "RS256")
        assert (await provider.keys("one", "RS256")).kid == "one"
    assert issuer.calls["keys"] == 2
    del issuer.answers["keys"]
    issuer.published = ["two"]
    clock.now += 2
    assert (await provider.keys("two", "RS256")).kid == "two"


async def test_revoked_keys_go_after_an_hour(provider: Provider, issuer: Issuer, clock: Clock) -> None:
    """A key that is no longer published stops working although its tokens never caused a fetch."""
    await provider.keys("one", "RS256")
    issuer.published = []
    clock.now += 3600
    with pytest.raises(InvalidIdToken, match="kid"):
        await provider.keys("one", "RS256")


async def test_keys_that_are_none(provider: Provider, issuer: Issuer) -> None:
    """A key set that is a page."""
    issuer.answers["keys"] = lambda: web.Response(text="<html>")
    with pytest.raises(InvalidMetadata):
        await provider.keys("one", "RS256")
    with pytest.raises(ProviderUnreachable, match="failed a moment ago"):
        await provider.keys("one", "RS256")


# Tokens


async def test_redeem(provider: Provider, issuer: Issuer) -> None:
    """A code becomes tokens and claims; what reached the issuer is exactly the request of RFC 6749."""
    token_set, claims = await provider.redeem("c0de", **REDEEM)
    assert (claims.subject, token_set.refresh_token) == ("jane", "r2")
    sent = issuer.forms[1]
    assert sent == {
        "grant_type": ["authorization_code"],
        "code": ["c0de"],
        "redirect_uri": ["https://d/oauth2/callback"],
        "code_verifier": ["v" * 43],
    }
    authorization = base64.b64decode(issuer.requests[1].headers["Authorization"].split()[1])
    assert authorization == b"gate:s3cret%26"


async def test_calls_carry_no_cookie_and_share_no_connection(provider: Provider, issuer: Issuer) -> None:
    """The issuer's cookies are not kept, and each call comes on a connection of its own."""
    await provider.redeem("c", **REDEEM)
    assert not any("Cookie" in request.headers for request in issuer.requests)
    assert {request.headers["Connection"] for request in issuer.requests} == {"close"}


async def test_client_secret_post(provider: Provider, issuer: Issuer) -> None:
    """A provider that only takes the secret in the body gets it there."""
    issuer.document = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    await provider.redeem("c", **REDEEM)
    assert issuer.forms[1]["client_secret"] == ["s3cret&"]
    assert "Authorization" not in issuer.requests[1].headers


async def test_public_client(make: Callable[..., Provider], issuer: Issuer) -> None:
    """Without a secret the client only says who it is."""
    await make(client_secret=lambda: None).redeem("c", **REDEEM)
    assert issuer.forms[1]["client_id"] == ["gate"]
    assert "client_secret" not in issuer.forms[1]
    assert "Authorization" not in issuer.requests[1].headers


async def test_the_secret_is_read_each_time(make: Callable[..., Provider], issuer: Issuer) -> None:
    """A rotated secret works at the next call; an empty file is passing, and nothing is sent for it."""
    secrets = ["old", "new", ""]
    provider = make(client_secret=lambda: secrets.pop(0))
    await provider.refresh_raw("r", None)
    await provider.refresh_raw("r", None)
    with pytest.raises(ProviderUnreachable, match="empty"):
        await provider.refresh_raw("r", None)
    sent = [request.headers["Authorization"].split()[1] for request in issuer.requests[1:]]
    assert [base64.b64decode(each) for each in sent] == [b"gate:old", b"gate:new"]


async def test_redeem_checks_the_nonce(provider: Provider, issuer: Issuer) -> None:
    """Another login's token is refused."""
    issuer.claims = {"nonce": "another"}
    with pytest.raises(InvalidIdToken, match="nonce"):
        await provider.redeem("c", **REDEEM)


async def test_a_bad_header_asks_for_no_key(provider: Provider, issuer: Issuer) -> None:
    """Cheap refusals come before the key fetch."""
    issuer.reply = {"id_token": "bm9uZQ.e30.AA"}
    with pytest.raises(InvalidIdToken, match="header"):
        await provider.redeem("c", **REDEEM)
    assert issuer.calls["keys"] == 0


async def test_audiences(make: Callable[..., Provider], issuer: Issuer) -> None:
    """Configured audiences are allowed; a call may ask for others instead."""
    provider = make(audiences=frozenset({"a"}))
    issuer.claims = {"aud": ["a", "gate"], "azp": "gate"}
    assert (await provider.redeem("c", **REDEEM))[1].audience == ("a", "gate")
    with pytest.raises(InvalidIdToken, match="aud"):
        await provider.redeem("c", **REDEEM, audiences=frozenset({"b"}))


async def test_refresh(provider: Provider, issuer: Issuer, previous: Claims) -> None:
    """A refresh narrows by scope, and its token continues the login."""
    token_set, claims = await provider.refresh("r1", scopes=["openid", "x"], previous=previous)
    assert (token_set.refresh_token, claims.nonce) == ("r2", "n-1")
    assert issuer.forms[1] == {"grant_type": ["refresh_token"], "refresh_token": ["r1"], "scope": ["openid x"]}


async def test_refresh_for_one_cluster(make: Callable[..., Provider], issuer: Issuer, previous: Claims) -> None:
    """A token narrowed to one audience is what was asked for, or refused."""
    provider = make(audiences=frozenset({"a", "b"}))
    issuer.claims = {"aud": ["a", "gate"], "azp": "gate"}
    asked: dict[str, Any] = {"scopes": ["openid"], "previous": previous}
    assert await provider.refresh("r1", **asked, audiences=frozenset({"a"}))
    with pytest.raises(InvalidIdToken, match="aud"):
        await provider.refresh("r1", **asked, audiences=frozenset({"b"}))


@pytest.mark.parametrize("aud", [["a", "b", "gate"], ["b", "gate"], ["gate"]])
async def test_a_provider_that_does_not_narrow(
    make: Callable[..., Provider], issuer: Issuer, previous: Claims, aud: list[str]
) -> None:
    """A refreshed token must be for exactly the cluster it was asked for, though configuration and past allow more."""
    provider = make(audiences=frozenset({"a", "b"}))
    issuer.claims = {"aud": aud, "azp": "gate"}
    previous = replace(previous, audience=("a", "b", "gate"))
    token_set = await provider.refresh_raw("r1", ["openid"])
    with pytest.raises(InvalidIdToken) as caught:
        await provider.verify(token_set, previous=previous, exactly=frozenset({"a", "gate"}))
    assert caught.value.claim == "aud"


async def test_exactly_needs_no_configuration(provider: Provider, issuer: Issuer, previous: Claims) -> None:
    """The audience of a site need not be listed among those that may stand beside us."""
    issuer.claims = {"aud": ["a", "gate"], "azp": "gate"}
    token_set = await provider.refresh_raw("r1", ["openid"])
    exactly = frozenset({"a", "gate"})
    assert (await provider.verify(token_set, previous=previous, exactly=exactly)).audience == ("a", "gate")
    assert (await provider.verify(token_set, nonce="n-1", exactly=exactly)).audience == ("a", "gate")


async def test_the_new_refresh_token_outlives_a_bad_id_token(
    provider: Provider, issuer: Issuer, previous: Claims
) -> None:
    """In two steps: the rotated token is in hand before the ID token is refused."""
    issuer.claims = {"sub": "somebody-else"}
    token_set = await provider.refresh_raw("r1", None)
    assert token_set.refresh_token == "r2"
    with pytest.raises(InvalidIdToken, match="sub"):
        await provider.verify(token_set, previous=previous)


async def test_refresh_without_id_token(provider: Provider, issuer: Issuer, previous: Claims) -> None:
    """Allowed by the specification, of no use to the gate: the tokens are there, the check fails."""
    issuer.reply = {"id_token": None}
    token_set = await provider.refresh_raw("r1", None)
    assert token_set == TokenSet("", "a", "r2")
    with pytest.raises(InvalidIdToken, match="id_token"):
        await provider.verify(token_set, previous=previous)


@pytest.mark.parametrize(
    ("status", "final"),
    [pytest.param(400, True, id="dead"), pytest.param(500, False, id="dex-overlap")],
)
async def test_refused_refresh(provider: Provider, issuer: Issuer, status: int, final: bool) -> None:
    """Dex says invalid_request both times; the status tells which is final."""
    issuer.answers["token"] = lambda: web.json_response({"error": "invalid_request"}, status=status)
    with pytest.raises(TokenError) as caught:
        await provider.refresh_raw("r1", None)
    assert (caught.value.error, caught.value.final) == ("invalid_request", final)


async def test_garbage_from_the_token_endpoint(provider: Provider, issuer: Issuer) -> None:
    """A 200 that is no token reply is the provider's fault and ends nothing."""
    issuer.answers["token"] = lambda: web.Response(text="<html>", content_type="text/html")
    with pytest.raises(ProviderError) as caught:
        await provider.refresh_raw("r1", None)
    assert not isinstance(caught.value, TokenError | ProviderUnreachable)


async def test_the_token_endpoint_redirects(provider: Provider, issuer: Issuer) -> None:
    """A code is never carried to where a redirect points."""
    issuer.answers["token"] = lambda: web.Response(status=307, headers={"Location": f"{issuer.url}/thief"})
    with pytest.raises(TokenError) as caught:
        await provider.redeem("c", **REDEEM)
    assert not caught.value.final
    assert issuer.calls["thief"] == 0


async def test_a_mountain(provider: Provider, issuer: Issuer) -> None:
    """An answer above 256 KiB is not read to its end."""
    issuer.answers["token"] = lambda: web.Response(body=b" " * 300_000, content_type="application/json")
    with pytest.raises(ProviderError, match="more than 262144 bytes"):
        await provider.refresh_raw("r1", None)


async def test_a_provider_that_hangs(make: Callable[..., Provider], issuer: Issuer) -> None:
    """Every call ends, though the provider only stays silent."""
    issuer.held["token"] = asyncio.Event()
    with pytest.raises(ProviderUnreachable, match="token endpoint"):
        await make(timeout=0.1).refresh_raw("r1", None)


async def test_a_provider_that_is_not_there(make: Callable[..., Provider]) -> None:
    """Nobody listens on port 1."""
    with pytest.raises(ProviderUnreachable, match="discovery"):
        await make(issuer="http://127.0.0.1:1").metadata()


async def test_an_answer_that_is_not_http(make: Callable[..., Provider]) -> None:
    """What was received is quoted nowhere, neither in the message nor in the chain."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 t0ken\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ProviderUnreachable, match="no proper HTTP answer") as caught:
            await make(issuer=f"http://127.0.0.1:{port}").metadata()
    assert caught.value.__cause__ is None
    assert "t0ken" not in str(caught.value)


# Other ways to the issuer


async def test_internal_url(make: Callable[..., Provider], issuer: Issuer) -> None:
    """The gate calls inside, browsers and tokens keep the outside name."""
    inside, issuer.url = issuer.url, "https://dex.example.com/dex"
    provider = make(issuer=issuer.url, internal_url=inside)
    _, claims = await provider.redeem("c", **REDEEM)
    assert claims.issuer == "https://dex.example.com/dex"
    assert (await provider.metadata()).authorization_endpoint == "https://dex.example.com/dex/auth"
    await provider.revoke("r")
    assert issuer.calls == {"openid-configuration": 1, "token": 1, "keys": 1, "revoke": 1}


async def test_proxy(make: Callable[..., Provider], issuer: Issuer) -> None:
    """Calls go by the proxy that is configured, with the whole URL in the request line."""
    proxy, issuer.url = issuer.url.removesuffix("/dex"), "http://dex.localhost:1/dex"
    assert await make(issuer=issuer.url, proxy=proxy).metadata()
    assert issuer.requests[0].raw_path.startswith("http://dex.localhost:1/dex/")


async def test_the_environment_s_proxy_is_not_used(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the configuration names a proxy."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    assert await provider.metadata()


@pytest.mark.parametrize("content", [pytest.param(None, id="missing"), pytest.param("text", id="no-pem")])
def test_bad_ca_file(make: Callable[..., Provider], tmp_path: Path, content: str | None) -> None:
    """A CA file that cannot be used is the operator's error, said at the start."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="ca_file"):
        make(ca_file=str(path))


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A certificate for localhost that is its own authority, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = tmp_path / "authority.pem"
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    return path


async def test_tls(make: Callable[..., Provider], issuer: Issuer, authority: Path) -> None:
    """The configured authority is believed for the right name, and no other is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    runner = web.AppRunner(issuer.app())
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        issuer.url = f"https://localhost:{port}/dex"
        assert await make(issuer=issuer.url, ca_file=str(authority)).metadata()
        with pytest.raises(ProviderUnreachable, match="certificate"):
            await make(issuer=issuer.url).metadata()
        issuer.url = f"https://127.0.0.1:{port}/dex"
        with pytest.raises(ProviderUnreachable, match="certificate"):
            await make(issuer=issuer.url, ca_file=str(authority)).metadata()
    finally:
        await runner.cleanup()


# Revocation


async def test_revoke(provider: Provider, issuer: Issuer) -> None:
    """RFC 7009, with client authentication."""
    await provider.revoke("r1")
    assert issuer.forms[1] == {"token": ["r1"], "token_type_hint": ["refresh_token"]}
    assert "Authorization" in issuer.requests[1].headers


async def test_calls_are_told_by_name(provider: Provider, issuer: Issuer) -> None:
    """Each of the four kinds, once a call; these are the names that metrics know."""
    told: list[tuple[str, int]] = []
    provider.watch(lambda what, _seconds, status: told.append((what, status)))
    await provider.warm_up()
    await provider.refresh_raw("r1", ["openid"])
    await provider.revoke("r1")
    issuer.answers["revoke"] = lambda: web.Response(status=503)
    await provider.revoke("r1")
    assert told == [
        ("discovery", 200),
        ("keys", 200),
        ("token endpoint", 200),
        ("revocation", 200),
        ("revocation", 503),
    ]
    assert {CALLS.get(what, what) for what, _ in told} == {"discovery", "keys", "token", "revocation"}


async def test_revoke_where_there_is_none(provider: Provider, issuer: Issuer) -> None:
    """Released Dex has no such endpoint: nothing is sent."""
    issuer.document = {"revocation_endpoint": None}
    await provider.revoke("r1")
    assert issuer.calls == {"openid-configuration": 1}


@pytest.mark.parametrize("path", ["revoke", "openid-configuration"])
async def test_revoke_is_best_effort(
    provider: Provider, issuer: Issuer, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure is logged, without the token, and raised nowhere."""
    issuer.answers[path] = lambda: web.Response(status=503)
    await provider.revoke("t0ken")
    assert "revocation" in caplog.text
    assert "HTTP 503" in caplog.text
    assert "t0ken" not in caplog.text


async def test_nothing_secret_is_logged(provider: Provider, issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    """Secret, code and tokens stay out of logs and messages, whatever fails."""
    caplog.set_level(logging.DEBUG)
    issuer.answers["token"] = lambda: web.Response(status=400, text="t0ken c0de")
    with pytest.raises(TokenError) as caught:
        await provider.redeem("c0de", **REDEEM)
    await provider.revoke("t0ken")
    for secret in ("s3cret", "c0de", "t0ken"):
        assert secret not in caplog.text + str(caught.value) + repr(provider)


def test_built_outside_a_loop() -> None:
    """Nothing is opened, so nothing is left to close; the clock is the system's."""
    provider = Provider(
        issuer="https://dex.example.com",
        client_id="gate",
        client_secret=lambda: None,
        scopes=["openid"],
        algorithms=["RS256"],
        leeway=10,
        max_token_life=90_000,
        log=logging.getLogger("test"),
    )
    assert provider._clock is time.time
    assert provider.scopes == ("openid",)
    asyncio.run(provider.close())
