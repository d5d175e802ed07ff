"""What is said of a token."""

import json
from typing import Any

import pytest

from oidcgate.doctor.device import Terminal
from oidcgate.doctor.token import NO_PUBLIC_CLIENT, SEVERAL, check_token, fits, refused, remarks, shown, who_signs_in
from oidcgate.errors import InvalidIdToken
from oidcgate.oidc.strictjson import encode_base64url
from tests.doctor.pieces import ISSUER, SITE, claims_of, issuer_of, scene_of


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


ONE = {**SITE, "provider": {"audience": "one"}, "kubectl": {"client_id": "k1"}}
TWO = {**SITE, "url": "https://two.example.com", "provider": {"audience": "two"}, "kubectl": {"client_id": "k2"}}
SECRET = {"client_secret_env": "PATH"}


@pytest.mark.parametrize(
    ("sites", "provider", "site", "found"),
    [
        pytest.param([SITE], {}, None, ("gate", "", ""), id="public"),
        pytest.param([ONE, TWO], {}, ONE["url"], ("gate", "one", ""), id="public-for-one-cluster"),
        pytest.param([ONE, TWO], {}, None, ("gate", "one", SEVERAL), id="public-for-several"),
        pytest.param([SITE], SECRET, None, ("", "", NO_PUBLIC_CLIENT), id="with-a-secret"),
        pytest.param([ONE, TWO], SECRET, TWO["url"], ("k2", "", ""), id="kubectl"),
        pytest.param([ONE, TWO], SECRET, None, ("k1", "", SEVERAL), id="kubectl-several"),
    ],
)
def test_who_signs_in(
    sites: list[Any], provider: dict[str, str], site: str | None, found: tuple[str, str, str]
) -> None:
    """A client without a secret, and for one cluster."""
    scene = scene_of({"sites": sites, "provider": provider}, site=site)
    assert who_signs_in(scene, scene.issuers[0]) == found


async def test_sign_in_without_a_device_flow() -> None:
    """Said with what to do in its place."""
    scene = scene_of(wants_login=True)
    (said,) = await check_token(scene, scene.issuers[0], Terminal(print))
    assert (said.status, "--token-file" in said.fix) == ("fail", True)


async def test_sign_in_while_the_issuer_is_down() -> None:
    """The issuer's address is named."""
    scene = scene_of(wants_login=True)
    scene.issuers[0].document = {"device_authorization_endpoint": "http://127.0.0.1:9/device"}
    (said,) = await check_token(scene, scene.issuers[0], Terminal(print))
    assert (said.status, said.key) == ("fail", "provider.issuer")


def unsigned(**claims: object) -> str:
    """A token whose payload can be read."""
    return f"e30.{encode_base64url(json.dumps(claims).encode())}.e30"


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        pytest.param(unsigned(iss=ISSUER, aud="gate"), True, id="ours"),
        pytest.param(unsigned(iss=ISSUER, aud=["x", "k1"]), True, id="kubectl"),
        pytest.param(unsigned(iss=ISSUER, aud="x"), False, id="another-client"),
        pytest.param(unsigned(iss="https://x", aud="gate"), False, id="another-issuer"),
        pytest.param(unsigned(iss=ISSUER, aud=7), False, id="odd"),
        pytest.param("x", False, id="no-token"),
        pytest.param("a.b!.c", False, id="no-base64"),
    ],
)
def test_whose_token(raw: str, found: bool) -> None:
    """By what it says of itself."""
    assert fits(raw, scene_of({"sites": [ONE]}).issuers[0]) is found


async def test_each_issuer_has_its_own_tokens() -> None:
    """A token is judged by the issuer that it is of; people sign in for one of several."""
    other = {**SITE, "url": "https://three.example.com", "provider": {"issuer": "https://x", "client_id": "x"}}
    scene = scene_of({"sites": [SITE, other]}, raw=unsigned(iss="https://x", aud="x"), wants_login=True)
    (said,) = await check_token(scene, scene.issuers[0], Terminal(print))
    assert (said.status, "another issuer" in said.message) == ("skip", True)
    scene.raw = None
    (said,) = await check_token(scene, scene.issuers[0], Terminal(print))
    assert said.message == SEVERAL
