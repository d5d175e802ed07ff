"""Claims: each check of OIDC Core §3.1.3.7 by itself, and the record round trip."""

import json
from dataclasses import replace
from typing import Any

import pytest

from oidcgate.errors import InvalidIdToken
from oidcgate.oidc.claims import Claims, Expected, check_claims
from tests.oidc.smith import CLIENT, ISSUER, NOW

EXPECTED = Expected(
    issuer=ISSUER,
    client_id=CLIENT,
    audiences=frozenset({"cluster-a", "cluster-b"}),
    algorithms=("RS256",),
    leeway=10,
    max_token_life=90_000,
    nonce="n-0S6_WzA2Mj",
)


def changed(claims: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A payload with members replaced, or left out when "drop"."""
    return {k: v for k, v in (claims | changes).items() if v != "drop"}


def test_dex_payload(claims: dict[str, Any]) -> None:
    """A payload as Dex makes it."""
    assert check_claims(claims, EXPECTED, now=NOW) == Claims(
        issuer=ISSUER,
        subject="CgcyMzQyNzQ5EgZnaXRodWI",
        audience=(CLIENT,),
        expires=NOW + 3600,
        issued_at=NOW - 5,
        nonce="n-0S6_WzA2Mj",
        email="jane@example.com",
        email_verified=True,
        groups=("team-a", "team-b"),
        name="Jane Doe",
        preferred_username="jane",
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"aud": [CLIENT]}, id="aud-as-a-list"),
        pytest.param({"aud": ["cluster-a", CLIENT], "azp": CLIENT}, id="dex-cross-client"),
        pytest.param({"azp": CLIENT}, id="azp-without-need"),
        pytest.param({"exp": NOW + 0.5}, id="half-a-second-left"),
        pytest.param({"iat": NOW + 10}, id="iat-at-the-edge-of-the-leeway"),
        pytest.param({"nbf": NOW + 10}, id="nbf-at-the-edge-of-the-leeway"),
        pytest.param({"iat": NOW - 80_000}, id="old-but-within-its-life"),
        pytest.param({"sub": "s" * 255}, id="longest-subject"),
        pytest.param({"auth_time": NOW - 60, "sid": "s-1"}, id="dex-with-sessions"),
        pytest.param({"federated_claims": {"connector_id": "ldap"}, "c_hash": 7}, id="others-are-ignored"),
        pytest.param({"email": None, "groups": None, "name": None, "sid": None}, id="null-is-absent"),
    ],
)
def test_accepts(claims: dict[str, Any], changes: dict[str, Any]) -> None:
    """What good tokens look like."""
    assert check_claims(changed(claims, changes), EXPECTED, now=NOW)


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        pytest.param({"iss": "drop"}, "iss", id="iss-missing"),
        pytest.param({"iss": ISSUER + "/"}, "iss", id="iss-with-a-slash-more"),
        pytest.param({"iss": [ISSUER]}, "iss", id="iss-list"),
        pytest.param({"iss": "https://evil.example.net"}, "iss", id="invalid-iss"),
        pytest.param({"nonce": "drop"}, "nonce", id="invalid-missing-nonce"),
        pytest.param({"nonce": "other"}, "nonce", id="nonce-invalid"),
        pytest.param({"nonce": "\u00fc"}, "nonce", id="nonce-not-ascii"),
        pytest.param({"nonce": ["n-0S6_WzA2Mj"]}, "nonce", id="nonce-list"),
        pytest.param({"aud": "drop"}, "aud", id="missing-aud"),
        pytest.param({"aud": "other"}, "aud", id="invalid-aud"),
        pytest.param({"aud": []}, "aud", id="aud-empty"),
        pytest.param({"aud": {"gate": 1}}, "aud", id="aud-object"),
        pytest.param({"aud": [CLIENT, 7]}, "aud", id="aud-with-a-number"),
        pytest.param({"aud": ["cluster-a"], "azp": CLIENT}, "aud", id="aud-without-us"),
        pytest.param({"aud": [CLIENT, "evil"], "azp": CLIENT}, "aud", id="invalid-secondary-aud"),
        pytest.param({"aud": [CLIENT, ""], "azp": CLIENT}, "aud", id="aud-with-a-blank"),
        pytest.param({"aud": [CLIENT] * 65}, "aud", id="aud-too-many"),
        pytest.param({"aud": [CLIENT, "cluster-a"]}, "azp", id="azp-missing-with-several-audiences"),
        pytest.param({"azp": "cluster-a"}, "azp", id="azp-another"),
        pytest.param({"azp": None}, "azp", id="azp-null"),
        pytest.param({"azp": [CLIENT]}, "azp", id="azp-list"),
        pytest.param({"exp": "drop"}, "exp", id="invalid-missing-exp"),
        pytest.param({"exp": NOW}, "exp", id="expired-this-second"),
        pytest.param({"exp": NOW - 5}, "exp", id="expired-within-the-leeway"),
        pytest.param({"exp": NOW - 86400}, "exp", id="invalid-expired-exp"),
        pytest.param({"exp": True}, "exp", id="exp-bool"),
        pytest.param({"exp": str(NOW + 60)}, "exp", id="exp-string"),
        pytest.param({"exp": 1e300}, "exp", id="exp-1e300"),
        pytest.param({"exp": -1}, "exp", id="exp-negative"),
        pytest.param({"exp": None}, "exp", id="exp-null"),
        pytest.param({"exp": NOW + 90_000}, "exp", id="lives-too-long"),
        pytest.param({"exp": NOW + 1, "iat": NOW + 2}, "exp", id="ends-before-it-begins"),
        pytest.param({"iat": "drop"}, "iat", id="missing-iat"),
        pytest.param({"iat": NOW + 11}, "iat", id="iat-in-the-future"),
        pytest.param({"iat": True}, "iat", id="iat-bool"),
        pytest.param({"iat": NOW - 7 * 86400}, "exp", id="iat-is-week-in-past"),
        pytest.param({"nbf": NOW + 11}, "nbf", id="not-yet"),
        pytest.param({"nbf": "0"}, "nbf", id="nbf-string"),
        pytest.param({"auth_time": "yesterday"}, "auth_time", id="auth-time-string"),
        pytest.param({"sub": "drop"}, "sub", id="missing-sub"),
        pytest.param({"sub": ""}, "sub", id="sub-empty"),
        pytest.param({"sub": "s" * 256}, "sub", id="sub-too-long"),
        pytest.param({"sub": 7}, "sub", id="sub-number"),
        pytest.param({"sub": "a\nb"}, "sub", id="sub-newline"),
        pytest.param({"sid": 7}, "sid", id="sid-number"),
        pytest.param({"email": ["a@b"]}, "email", id="email-list"),
        pytest.param({"groups": 7}, "groups", id="groups-number"),
        pytest.param({"groups": ["a", {"b": 1}]}, "groups", id="groups-with-an-object"),
        pytest.param({"groups": {"a": True}}, "groups", id="groups-object"),
        pytest.param({"name": 7}, "name", id="name-number"),
        pytest.param({"preferred_username": False}, "preferred_username", id="username-bool"),
    ],
)
def test_refuses(claims: dict[str, Any], changes: dict[str, Any], claim: str) -> None:
    """The error names the claim that fails."""
    with pytest.raises(InvalidIdToken) as caught:
        check_claims(changed(claims, changes), EXPECTED, now=NOW)
    assert caught.value.claim == claim


def test_nothing_equals_an_empty_nonce(claims: dict[str, Any]) -> None:
    """An empty expectation is not met by an absent nonce."""
    with pytest.raises(InvalidIdToken):
        check_claims(changed(claims, {"nonce": "drop"}), replace(EXPECTED, nonce=""), now=NOW)


def test_without_a_login_the_nonce_is_only_read(claims: dict[str, Any]) -> None:
    """Nonce None: no login is being ended."""
    assert check_claims(claims, replace(EXPECTED, nonce=None), now=NOW).nonce == "n-0S6_WzA2Mj"


@pytest.mark.parametrize(
    ("value", "groups"),
    [
        pytest.param("drop", (), id="absent"),
        pytest.param([], (), id="empty"),
        pytest.param("admins", ("admins",), id="string"),
        pytest.param(["b", "", "a"], ("b", "a"), id="blank-is-nobody-s-group"),
    ],
)
def test_groups(claims: dict[str, Any], value: Any, groups: tuple[str, ...]) -> None:
    """String or array, always a tuple."""
    assert check_claims(changed(claims, {"groups": value}), EXPECTED, now=NOW).groups == groups


@pytest.mark.parametrize(
    ("value", "email"),
    [
        pytest.param("Jane.Doe@EXAMPLE.com", "Jane.Doe@example.com", id="only-the-domain-is-folded"),
        pytest.param("u\u0308@b\u00fccher.example", "\u00fc@b\u00fccher.example", id="nfc"),
        pytest.param("jane@evil.net@example.com", None, id="two-at-signs"),
        pytest.param("jane", None, id="no-at-sign"),
        pytest.param("@example.com", None, id="no-local-part"),
        pytest.param("jane@", None, id="no-domain"),
        pytest.param("ja ne@example.com", None, id="space"),
        pytest.param("jane@example.com\n", None, id="newline"),
        pytest.param("jane@exam\u200bple.com", None, id="zero-width-space"),
        pytest.param("jane@\u212aube.example", None, id="kelvin-sign-is-not-k"),
        pytest.param("", None, id="empty"),
    ],
)
def test_email(claims: dict[str, Any], value: str, email: str | None) -> None:
    """One form to compare, and none for what is no address."""
    assert check_claims(changed(claims, {"email": value}), EXPECTED, now=NOW).email == email


@pytest.mark.parametrize(
    ("value", "verified"),
    [(True, True), (False, False), ("true", False), (1, False), (None, False), ("drop", False)],
)
def test_email_verified(claims: dict[str, Any], value: Any, verified: bool) -> None:
    """Only the boolean true verifies."""
    # Not by ``changed``: 1 == True.
    payload = {k: v for k, v in claims.items() if k != "email_verified"}
    payload |= {} if value == "drop" else {"email_verified": value}
    assert check_claims(payload, EXPECTED, now=NOW).email_verified is verified


def test_messages_are_short(claims: dict[str, Any]) -> None:
    """Expected and got are named; what is long is cut."""
    with pytest.raises(InvalidIdToken, match="expected 'https://dex") as caught:
        check_claims(changed(claims, {"iss": "x" * 5000}), EXPECTED, now=NOW)
    assert len(str(caught.value)) < 500


def test_record_round_trip(claims: dict[str, Any]) -> None:
    """Through JSON and back; a newer release's members are ignored, missing optional ones are defaults."""
    got = check_claims(claims, EXPECTED, now=NOW)
    record = json.loads(json.dumps(got.to_record()))
    assert Claims.from_record(record) == got
    assert Claims.from_record(record | {"amr": ["pwd"]}) == got
    del record["groups"]
    assert Claims.from_record(record).groups == ()


def test_record_without_its_heart() -> None:
    """A record that lacks the issuer is none."""
    with pytest.raises(ValueError, match="record"):
        Claims.from_record({"subject": "s"})
