"""What is said of a token."""

import pytest

from oidcgate.doctor.device import Terminal
from oidcgate.doctor.token import check_token, refused, remarks, shown
from oidcgate.errors import InvalidIdToken
from tests.doctor.pieces import SITE, claims_of, issuer_of, scene_of


@pytest.mark.parametrize(
    ("claim", "message", "key"),
    [
        pytest.param("iss", "x", "provider.issuer", id="iss"),
        pytest.param("aud", "x", "provider.client_id", id="aud"),
        pytest.param("azp", "x", "provider.client_id", id="azp"),
        pytest.param("exp", "expected after", "token: exp", id="exp"),
        pytest.param("exp", "expected a life of", "provider.max_token_life", id="life"),
        pytest.param("iat", "x", "provider.leeway", id="iat"),
        pytest.param("nbf", "x", "provider.leeway", id="nbf"),
        pytest.param("alg", "x", "provider.algorithms", id="alg"),
        pytest.param("kid", "x", "provider.issuer", id="kid"),
        pytest.param("signature", "x", "provider.issuer", id="signature"),
        pytest.param("sub", "x", "token: sub", id="other"),
    ],
)
def test_refused(claim: str, message: str, key: str) -> None:
    """By the claim."""
    said = refused(InvalidIdToken(claim, message), issuer_of())
    assert (said.status, said.key) == ("fail", key)
    assert said.fix


@pytest.mark.parametrize(
    ("size", "change", "scopes", "keys"),
    [
        pytest.param(3000, {}, ["openid", "groups"], [], id="good"),
        pytest.param(3585, {}, ["openid", "groups"], ["nginx: proxy_buffer_size"], id="nginx"),
        pytest.param(8001, {}, ["openid", "groups"], ["Dex: its connector"], id="kong"),
        pytest.param(10, {"groups": ()}, ["openid", "groups"], ["Dex: its connector"], id="no-groups"),
        pytest.param(10, {"groups": ()}, ["openid"], ["provider.scopes"], id="groups-not-asked-for"),
        pytest.param(10, {"email_verified": False}, ["openid"], ["Dex: its connector"], id="email"),
        pytest.param(10, {"email": None, "email_verified": False}, ["openid"], [], id="no-email"),
    ],
)
def test_remarks(size: int, change: dict[str, object], scopes: list[str], keys: list[str]) -> None:
    """What works and may not for everybody."""
    said = remarks("x" * size, claims_of(**change), issuer_of({"provider": {"scopes": scopes}}))
    assert [(each.status, each.key) for each in said] == [("warn", key) for key in keys]


def test_shown() -> None:
    """Who and for whom; a long list of groups is cut."""
    assert shown(claims_of()) == "alice@example.com in ops, for gate"
    assert shown(claims_of(email=None, groups=tuple("abcdefg"))) == "sub in a, b, c, d, e …, for gate"
    assert shown(claims_of(groups=())) == "alice@example.com, for gate"


async def test_sign_in_for_one_cluster_only() -> None:
    """With several audiences the token would be for all; so one site must be named."""
    sites = [
        {**SITE, "provider": {"audience": "one"}},
        {**SITE, "url": "https://two.example.com", "provider": {"audience": "two"}},
    ]
    scene = scene_of({"sites": sites}, wants_login=True)
    (said,) = await check_token(scene, scene.issuers[0], Terminal(print))
    assert said.status == "skip"
    assert "--site" in said.message


async def test_sign_in_without_a_device_flow() -> None:
    """Said with what to do in its place."""
    scene = scene_of(wants_login=True)
    (said,) = await check_token(scene, scene.issuers[0], Terminal(print))
    assert (said.status, "--token-file" in said.fix) == ("fail", True)
