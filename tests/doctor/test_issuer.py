"""What a discovery document and a key set are found to be."""

import json
from typing import Any

import jwt.algorithms
import pytest

from oidcgate.doctor.issuer import check_discovery, check_keys, check_reached, judge_keys, read_document
from oidcgate.doctor.stages import Unreached
from oidcgate.oidc.keyset import parse_keyset
from tests.doctor.pieces import ISSUER, Answering, issuer_of, scene_of
from tests.support.stack import signing_key

DOCUMENT: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/auth",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
    "code_challenge_methods_supported": ["S256"],
}


@pytest.mark.parametrize(
    ("document", "config", "statuses", "key", "words"),
    [
        pytest.param({}, {}, ["ok"], "", "signing out ends the gate's session only", id="good"),
        pytest.param(
            {"end_session_endpoint": f"{ISSUER}/logout", "backchannel_logout_supported": True},
            {},
            ["ok"],
            "",
            "tells the gate",
            id="sign-out",
        ),
        pytest.param({"end_session_endpoint": f"{ISSUER}/x"}, {}, ["ok"], "", "does not tell", id="half-a-sign-out"),
        pytest.param({"issuer": ISSUER + "/"}, {}, ["fail"], "provider.issuer", "a slash at the end", id="slash"),
        pytest.param({"issuer": 7}, {}, ["fail"], "provider.issuer", "'7'", id="odd-issuer"),
        pytest.param({"jwks_uri": "http://x"}, {}, ["fail"], "provider.endpoint_hosts", "jwks_uri", id="elsewhere"),
        pytest.param({"jwks_uri": None}, {}, ["fail"], "Dex: its discovery document", "jwks_uri", id="no-keys"),
        pytest.param(
            {"code_challenge_methods_supported": []}, {}, ["warn", "ok"], "Dex: its version", "S256", id="pkce"
        ),
        pytest.param(
            {"scopes_supported": ["openid"]}, {}, ["warn", "ok"], "provider.scopes", "email, profile", id="scope"
        ),
        pytest.param(
            {}, {"scopes": ["openid", "groups"]}, ["warn", "ok"], "provider.scopes", "first token", id="offline"
        ),
        pytest.param(
            {}, {"scopes": ["openid", "offline_access"]}, ["warn", "ok"], "provider.scopes", "RBAC", id="groups"
        ),
    ],
)
def test_document(document: dict[str, Any], config: dict[str, Any], statuses: list[str], key: str, words: str) -> None:
    """Each with its key."""
    issuer = issuer_of({"provider": config})
    said = read_document(json.dumps(DOCUMENT | document).encode(), issuer)
    assert [each.status for each in said if "reuseInterval" not in each.message] == statuses
    assert said[0].key == key
    assert words in said[0].message


@pytest.mark.parametrize("body", [b"<html>", b"[]"])
def test_no_document(body: bytes) -> None:
    """A page, or a list."""
    (said,) = read_document(body, issuer_of())
    assert (said.status, said.key) == ("fail", "provider.issuer")


@pytest.mark.parametrize(
    ("listed", "accepted", "status", "words"),
    [
        pytest.param((), ["RS256", "ES256"], "ok", "1 key, for RS256", id="good"),
        pytest.param(("RS512",), ["RS256"], "fail", "add RS512", id="another"),
        pytest.param(("ES256",), ["RS256"], "ok", "for RS256", id="says-what-it-has-no-key-for"),
        pytest.param((), ["ES256"], "fail", "add RS256", id="none-accepted"),
    ],
)
def test_keys(listed: tuple[str, ...], accepted: list[str], status: str, words: str) -> None:
    """One key and one algorithm in common."""
    key = jwt.algorithms.RSAAlgorithm.to_jwk(signing_key().public_key(), as_dict=True)
    issuer = issuer_of({"provider": {"algorithms": accepted}}, id_token_algs=listed)
    said = judge_keys(parse_keyset(json.dumps({"keys": [key]}).encode()), issuer)
    assert said.status == status
    assert words in said.message + said.fix


def test_no_keys() -> None:
    """Nothing of a known kind."""
    assert judge_keys(parse_keyset(b'{"keys": []}'), issuer_of()).key == "Dex: its keys"


async def test_by_an_outgoing_proxy() -> None:
    """The issuer cannot be dialled; what fails is the proxy."""
    scene = scene_of({"provider": {"proxy": "http://127.0.0.1:9"}})
    assert (await check_reached(scene, scene.issuers[0]))[0].status == "ok"
    assert (await check_discovery(scene, scene.issuers[0]))[0].key == "provider.proxy"


async def test_without_tls() -> None:
    """An issuer on this machine has no certificate."""
    scene = scene_of()
    scene.caller = Answering(None)
    assert (await check_reached(scene, scene.issuers[0]))[0].message == f"{ISSUER} takes connections"


async def test_keys_elsewhere_that_do_not_answer() -> None:
    """The issuer itself was reached, so it is the other host."""
    scene = scene_of()
    scene.caller = Answering(Unreached("tcp", "refused"))
    assert (await check_keys(scene, issuer_of()))[0].key == "provider.endpoint_hosts"
