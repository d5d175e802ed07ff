"""The bearer's verification against a running issuer."""

import asyncio
from typing import Any

import jwt
import pytest

from oidcgate.demo.ui.token import BearerExpired, BearerRefused, BearerVerifier

from .conftest import AUDIENCE, NOW, Clock, TinyIssuer


@pytest.fixture
def verifier(issuer: TinyIssuer, clock: Clock) -> BearerVerifier:
    """A verifier for the running issuer."""
    return BearerVerifier(issuer.url, AUDIENCE, clock=clock)


async def test_a_good_token_names_its_caller(verifier: BearerVerifier, issuer: TinyIssuer) -> None:
    """Name, groups, subject and times come from the claims."""
    caller = await verifier.verify(issuer.token())
    assert caller.username == "alice@example.com"
    assert caller.groups == ("platform-admins",)
    assert caller.subject == "subject-1"
    assert (caller.issued_at, caller.expires_at) == (NOW - 10, NOW + 600)


GOOD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "audience among several": ({"aud": ["other", AUDIENCE]}, ("platform-admins",)),
    "one group as a string": ({"groups": "solo"}, ("solo",)),
    "no groups": ({"groups": None}, ()),
    "no word on verification": ({"email_verified": None}, ("platform-admins",)),
    "nbf has come": ({"nbf": int(NOW)}, ("platform-admins",)),
    "no key id": ({"kid": None}, ("platform-admins",)),
}


@pytest.mark.parametrize(("claims", "groups"), GOOD.values(), ids=GOOD)
async def test_accepted(
    verifier: BearerVerifier, issuer: TinyIssuer, claims: dict[str, Any], groups: tuple[str, ...]
) -> None:
    """Unusual but right tokens pass."""
    assert (await verifier.verify(issuer.token(**claims))).groups == groups


BAD: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://elsewhere.example"},
    "another audience": {"aud": "other"},
    "no audience": {"aud": None},
    "no expiry": {"exp": None},
    "nbf to come": {"nbf": int(NOW) + 1},
    "nbf not a number": {"nbf": True},
    "no email": {"email": None},
    "an email that is not verified": {"email_verified": False},
    "an email that is verified in a string": {"email_verified": "true"},
    "groups of numbers": {"groups": [1]},
    "groups as an object": {"groups": {"a": "b"}},
    "a stranger's signature": {"key": "second"},
    "an unknown key": {"kid": "second", "key": "second"},
}


@pytest.mark.parametrize("claims", BAD.values(), ids=BAD)
async def test_refused(verifier: BearerVerifier, issuer: TinyIssuer, claims: dict[str, Any]) -> None:
    """One thing wrong is enough."""
    with pytest.raises(BearerRefused):
        await verifier.verify(issuer.token(**claims))


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é.é.é"])
async def test_what_is_no_token_is_refused(verifier: BearerVerifier, token: str) -> None:
    """Garbage is a refusal, not an accident."""
    with pytest.raises(BearerRefused):
        await verifier.verify(token)


async def test_a_shared_secret_is_refused(verifier: BearerVerifier, issuer: TinyIssuer) -> None:
    """HS256 is not on the list, and no key is fetched for it."""
    token = jwt.encode({"iss": issuer.url}, "x" * 64, algorithm="HS256", headers={"kid": "first"})
    with pytest.raises(BearerRefused, match="HS256"):
        await verifier.verify(token)
    assert issuer.fetches == 0


async def test_no_leeway_after_exp(verifier: BearerVerifier, issuer: TinyIssuer, clock: Clock) -> None:
    """A token is good until the very second in `exp`, and then it is not."""
    token = issuer.token(exp=int(NOW) + 1)
    clock.now = NOW + 0.999
    assert await verifier.verify(token)
    clock.now = NOW + 1
    with pytest.raises(BearerExpired):
        await verifier.verify(token)


async def test_keys_are_fetched_once_for_many(verifier: BearerVerifier, issuer: TinyIssuer) -> None:
    """Callers that arrive together share one fetch, later ones need none."""
    token = issuer.token()
    await asyncio.gather(*(verifier.verify(token) for _ in range(5)))
    await verifier.verify(token)
    assert issuer.fetches == 1


async def test_an_unknown_key_is_fetched(verifier: BearerVerifier, issuer: TinyIssuer) -> None:
    """A rotation at the issuer is noticed by the first token with the new key; the old one is gone then."""
    old = issuer.token()
    await verifier.verify(old)
    issuer.published = ["second"]
    assert await verifier.verify(issuer.token(kid="second", key="second"))
    with pytest.raises(BearerRefused):
        await verifier.verify(old)


async def test_without_the_issuer_all_are_refused_until_it_is_back(
    verifier: BearerVerifier, issuer: TinyIssuer
) -> None:
    """An issuer that fails is asked again by the next token."""
    issuer.status = 503
    with pytest.raises(BearerRefused):
        await verifier.verify(issuer.token())
    issuer.status = 200
    assert await verifier.verify(issuer.token())


@pytest.mark.parametrize("metadata", [{"issuer": "https://elsewhere.example"}, {"jwks_uri": "nonsense"}])
async def test_metadata_that_is_wrong(verifier: BearerVerifier, issuer: TinyIssuer, metadata: dict[str, str]) -> None:
    """Metadata that names another issuer, or no usable address, gives no keys."""
    issuer.metadata = metadata
    with pytest.raises(BearerRefused):
        await verifier.verify(issuer.token())


async def test_metadata_that_is_no_object(verifier: BearerVerifier, issuer: TinyIssuer) -> None:
    """A list in place of the metadata gives no keys."""
    issuer.document = ["nonsense"]
    with pytest.raises(BearerRefused, match="not a JSON object"):
        await verifier.verify(issuer.token())


async def test_an_empty_keyset(verifier: BearerVerifier, issuer: TinyIssuer) -> None:
    """An issuer without keys vouches for nobody."""
    issuer.published = []
    with pytest.raises(BearerRefused):
        await verifier.verify(issuer.token())
