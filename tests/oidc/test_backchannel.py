"""Logout tokens: every rule of OIDC Back-Channel Logout §2.4 and §2.6."""

import json
from typing import Any

import pytest

from oidcgate.errors import InvalidIdToken
from oidcgate.oidc import idtoken
from oidcgate.oidc.backchannel import EVENT, KIND, MAX_AGE, LogoutToken, verify_logout
from oidcgate.oidc.idtoken import MAX_TOKEN, header_of
from oidcgate.oidc.keyset import Key, parse_keyset
from tests.oidc.smith import CLIENT, ISSUER, NOW, Smith, b64
from tests.oidc.test_idtoken import EXPECTED

DROP = object()  # the claim is left out
TYPED = {"typ": KIND}
GOOD: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "CgcyMzQyNzQ5EgZnaXRodWI",
    "aud": CLIENT,
    "iat": NOW - 1,
    "exp": NOW + 120,
    "jti": "bWJq",
    "sid": "08a5019c-17e1-4977-8f42-65a12843ea02",
    "events": {EVENT: {}},
}


@pytest.fixture
def key(smith: Smith) -> Key:
    """The issuer's RSA key, parsed."""
    (key,) = parse_keyset(smith.keyset(smith.jwk("rsa"))).keys
    return key


def changed(**changes: Any) -> dict[str, Any]:
    """A good token's claims with some changed, some left out."""
    return {name: value for name, value in (GOOD | changes).items() if value is not DROP}


def check(raw: str, key: Key) -> LogoutToken:
    """Both steps, as a caller makes them."""
    header_of(raw, EXPECTED, KIND)
    return verify_logout(raw, key=key, expected=EXPECTED, now=NOW)


def test_good_token(smith: Smith, key: Key) -> None:
    """Everything that the caller needs is in the result."""
    found = check(smith.token(GOOD, header=TYPED), key)
    assert found == LogoutToken(GOOD["sub"], GOOD["sid"], GOOD["jti"], GOOD["exp"])


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"aud": [CLIENT]}, id="aud-array"),
        pytest.param({"aud": ["another", CLIENT]}, id="aud-array-of-two"),
        pytest.param({"iat": NOW + 10}, id="iat-within-the-leeway"),
        pytest.param({"iat": NOW - MAX_AGE}, id="iat-as-old-as-may-be"),
        pytest.param({"exp": NOW - 9.5}, id="exp-within-the-leeway"),
        pytest.param({"exp": DROP}, id="no-exp"),
        pytest.param({"events": {EVENT: {}, "https://example.com/other": {}}}, id="another-event-beside"),
        pytest.param({"events": {EVENT: {"more": 1}}}, id="a-member-in-the-event"),
        pytest.param({"sub": DROP}, id="sid-alone"),
        pytest.param({"sid": DROP}, id="sub-alone"),
        pytest.param({"sub": None}, id="sub-null"),
        pytest.param({"unknown": [1, 2]}, id="unknown-claim"),
        pytest.param({"sid": "x" * 255}, id="longest-sid"),
    ],
)
def test_accepted(smith: Smith, key: Key, changes: dict[str, Any]) -> None:
    """What the rules leave open is taken."""
    found = check(smith.token(changed(**changes), header=TYPED), key)
    assert (found.subject, found.sid) != (None, None)
    assert found.expires > NOW - 10


@pytest.mark.parametrize("typ", [KIND, "LOGOUT+JWT", "drop"])
def test_typ(smith: Smith, key: Key, typ: str) -> None:
    """The explicit type in any case, or none: issuers that send none are common (RFC 8725 §3.11)."""
    assert check(smith.token(GOOD, header={"typ": typ}), key).jti == GOOD["jti"]


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        pytest.param({"iss": "https://evil.example.com"}, "iss", id="wrong-iss"),
        pytest.param({"iss": ISSUER + "/"}, "iss", id="iss-with-a-slash-more"),
        pytest.param({"iss": DROP}, "iss", id="no-iss"),
        pytest.param({"aud": "another"}, "aud", id="wrong-aud"),
        pytest.param({"aud": ["another", "third"]}, "aud", id="wrong-aud-array"),
        pytest.param({"aud": []}, "aud", id="empty-aud"),
        pytest.param({"aud": {CLIENT: 1}}, "aud", id="aud-object"),
        pytest.param({"aud": DROP}, "aud", id="no-aud"),
        pytest.param({"iat": DROP}, "iat", id="no-iat"),
        pytest.param({"iat": str(NOW)}, "iat", id="iat-text"),
        pytest.param({"iat": True}, "iat", id="iat-bool"),
        pytest.param({"iat": NOW + 11}, "iat", id="iat-in-the-future"),
        pytest.param({"iat": NOW - MAX_AGE - 1}, "iat", id="iat-too-old"),
        pytest.param({"exp": NOW - 10}, "exp", id="expired"),
        pytest.param({"exp": NOW + 11 * MAX_AGE}, "exp", id="exp-too-far"),
        pytest.param({"exp": None}, "exp", id="exp-null"),
        pytest.param({"exp": False}, "exp", id="exp-bool"),
        pytest.param({"exp": "soon"}, "exp", id="exp-text"),
        pytest.param({"events": DROP}, "events", id="no-event"),
        pytest.param({"events": {}}, "events", id="empty-events"),
        pytest.param({"events": {EVENT + "/": {}}}, "events", id="wrong-event"),
        pytest.param({"events": [EVENT]}, "events", id="events-array"),
        pytest.param({"events": EVENT}, "events", id="events-text"),
        pytest.param({"events": {EVENT: None}}, "events", id="event-null"),
        pytest.param({"events": {EVENT: []}}, "events", id="event-array"),
        pytest.param({"events": {EVENT: True}}, "events", id="event-bool"),
        pytest.param({"nonce": "n-0S6_WzA2Mj"}, "nonce", id="with-nonce"),
        pytest.param({"nonce": None}, "nonce", id="with-nonce-null"),
        pytest.param({"nonce": ""}, "nonce", id="with-nonce-empty"),
        pytest.param({"sub": DROP, "sid": DROP}, "sub", id="neither-sub-nor-sid"),
        pytest.param({"sub": None, "sid": None}, "sub", id="both-null"),
        pytest.param({"sub": ""}, "sub", id="sub-empty"),
        pytest.param({"sub": 7}, "sub", id="sub-number"),
        pytest.param({"sub": "x" * 256}, "sub", id="sub-too-long"),
        pytest.param({"sid": ["a"]}, "sid", id="sid-array"),
        pytest.param({"sid": "x" * 256}, "sid", id="sid-too-long"),
        pytest.param({"sid": ""}, "sid", id="sid-empty"),
        pytest.param({"jti": DROP}, "jti", id="no-jti"),
        pytest.param({"jti": ""}, "jti", id="jti-empty"),
        pytest.param({"jti": 1}, "jti", id="jti-number"),
        pytest.param({"jti": "x" * 256}, "jti", id="jti-too-long"),
    ],
)
def test_refused_claims(smith: Smith, key: Key, changes: dict[str, Any], claim: str) -> None:
    """One broken rule is enough, and is named."""
    with pytest.raises(InvalidIdToken) as caught:
        check(smith.token(changed(**changes), header=TYPED), key)
    assert caught.value.claim == claim


@pytest.mark.parametrize(
    ("header", "claim"),
    [
        pytest.param({"typ": "JWT"}, "typ", id="typ-of-an-id-token"),
        pytest.param({"typ": "at+jwt"}, "typ", id="typ-of-an-access-token"),
        pytest.param({"typ": None}, "typ", id="typ-null"),
        pytest.param({"typ": KIND, "alg": "none"}, "alg", id="alg-none"),
        pytest.param({"typ": KIND, "alg": "HS256"}, "alg", id="alg-hs256"),
        pytest.param({"typ": KIND, "alg": "RS384"}, "alg", id="alg-not-listed"),
        pytest.param({"typ": KIND, "kid": ""}, "kid", id="kid-empty"),
        pytest.param({"typ": KIND, "jwk": {}}, "jwk", id="brings-a-key"),
        pytest.param({"typ": KIND, "crit": ["x"]}, "crit", id="crit"),
    ],
)
def test_refused_headers(smith: Smith, key: Key, header: dict[str, Any], claim: str) -> None:
    """The header's rules are an ID token's, but for the type."""
    with pytest.raises(InvalidIdToken) as caught:
        check(smith.token(GOOD, header=header), key)
    assert caught.value.claim == claim


def test_unsigned(key: Key) -> None:
    """Without a signature there is nothing to believe."""
    header, payload = b64(json.dumps({"alg": "none", "typ": KIND}).encode()), b64(json.dumps(GOOD).encode())
    with pytest.raises(InvalidIdToken, match="signature"):
        check(f"{header}.{payload}.", key)


def test_signed_by_another_key(smith: Smith, key: Key) -> None:
    """Somebody else's key, said to be the issuer's."""
    with pytest.raises(InvalidIdToken, match="signature"):
        check(smith.token(GOOD, key="rsa2", header={**TYPED, "kid": "rsa"}), key)
    with pytest.raises(InvalidIdToken, match="kid"):
        check(smith.token(GOOD, key="rsa2", header=TYPED), key)


def test_signed_with_the_public_key_as_a_secret(smith: Smith, key: Key) -> None:
    """The classic confusion of key kinds."""
    with pytest.raises(InvalidIdToken, match="alg"):
        check(smith.confused(GOOD), key)


def test_an_id_token_is_no_logout_token(smith: Smith, key: Key, claims: dict[str, Any]) -> None:
    """Somebody who got hold of an ID token cannot sign its person out, whatever its header says."""
    for header in ({"typ": "JWT"}, TYPED, {}):
        with pytest.raises(InvalidIdToken):
            check(smith.token(claims, header=header), key)


def test_a_logout_token_is_no_id_token(smith: Smith, key: Key) -> None:
    """Nor does a logout token sign anybody in."""
    for header in (TYPED, {}):
        with pytest.raises(InvalidIdToken):
            idtoken.verify(smith.token(GOOD, header=header), key=key, expected=EXPECTED, now=NOW, access_token=None)


@pytest.mark.parametrize(
    "payload", [b"[]", b"{", b"null", b'{"iss": 1, "iss": 2}', b"\xff"], ids=["array", "cut", "null", "twice", "bytes"]
)
def test_payload_that_is_no_object(smith: Smith, key: Key, payload: bytes) -> None:
    """Signed nonsense is nonsense."""
    with pytest.raises(InvalidIdToken, match="payload"):
        check(smith.token(payload, header=TYPED), key)


@pytest.mark.parametrize("raw", ["", ".", "..", "a.b", "a.b.c.d.e", "é.b.c", "x" * (MAX_TOKEN + 1)])
def test_shapes(key: Key, raw: str) -> None:
    """Three parts of base64url, and not too long."""
    with pytest.raises(InvalidIdToken):
        check(raw, key)
