"""ID tokens: every way to forge one, and what a refresh may change."""

import json
from dataclasses import replace
from typing import Any

import pytest

from oidcgate.errors import InvalidIdToken
from oidcgate.oidc.idtoken import Claims, Expected, TokenHeader, header_of, verify, verify_refreshed
from oidcgate.oidc.keyset import Key, parse_keyset
from tests.oidc.smith import CLIENT, ISSUER, NOW, Smith, b64

EXPECTED = Expected(
    issuer=ISSUER,
    client_id=CLIENT,
    audiences=frozenset(),
    algorithms=("RS256", "ES256"),
    leeway=10,
    max_token_life=90_000,
    nonce="n-0S6_WzA2Mj",
)


@pytest.fixture
def key(smith: Smith) -> Key:
    """The issuer's RSA key, parsed."""
    (key,) = parse_keyset(smith.keyset(smith.jwk("rsa"))).keys
    return key


def check(raw: str, key: Key, expected: Expected = EXPECTED, **arguments: Any) -> Claims:
    """Both steps, as a caller makes them."""
    header_of(raw, expected)
    return verify(raw, key=key, expected=expected, **({"now": NOW, "access_token": None} | arguments))


def test_good_token(smith: Smith, key: Key, claims: dict[str, Any]) -> None:
    """The happy path: header first, then everything."""
    raw = smith.token(claims, header={"typ": "JWT"})
    assert header_of(raw, EXPECTED) == TokenHeader(kid="rsa", alg="RS256")
    assert check(raw, key).subject == claims["sub"]


@pytest.mark.parametrize(
    ("name", "alg"),
    [("rsa", "PS256"), ("rsa", "RS512"), ("p256", "ES256"), ("p384", "ES384"), ("p521", "ES512"), ("ed", "EdDSA")],
)
def test_other_algorithms_by_configuration(smith: Smith, claims: dict[str, Any], name: str, alg: str) -> None:
    """Each algorithm works once it is listed, and not before."""
    (key,) = parse_keyset(smith.keyset(smith.jwk(name))).keys
    raw = smith.token(claims, key=name, alg=alg)
    assert check(raw, key, replace(EXPECTED, algorithms=(alg,)))
    with pytest.raises(InvalidIdToken, match="alg"):
        check(raw, key, replace(EXPECTED, algorithms=("RS384",)))


def test_without_kid(smith: Smith, key: Key, claims: dict[str, Any]) -> None:
    """A token without kid is checked with the key that the set gave for it."""
    raw = smith.token(claims, header={"kid": "drop"})
    assert header_of(raw, EXPECTED).kid is None
    assert check(raw, key)


@pytest.mark.parametrize("typ", ["JWT", "jwt", "drop"])
def test_typ(smith: Smith, key: Key, claims: dict[str, Any], typ: str) -> None:
    """JWT in any case, or no typ at all: a media type has no case (RFC 7515 §4.1.9)."""
    assert check(smith.token(claims, header={"typ": typ}), key)


@pytest.mark.parametrize(
    ("header", "claim"),
    [
        pytest.param({"alg": "none"}, "alg", id="alg-none"),
        pytest.param({"alg": "None"}, "alg", id="alg-None"),
        pytest.param({"alg": "nOnE"}, "alg", id="alg-nOnE"),
        pytest.param({"alg": "HS256"}, "alg", id="alg-hs256"),
        pytest.param({"alg": "rs256"}, "alg", id="alg-in-another-case"),
        pytest.param({"alg": "RS384"}, "alg", id="invalid-alternate-alg"),
        pytest.param({"alg": None}, "alg", id="invalid-null-alg"),
        pytest.param({"alg": ["RS256"]}, "alg", id="alg-list"),
        pytest.param({"alg": "drop"}, "alg", id="alg-missing"),
        pytest.param({"crit": ["exp"]}, "crit", id="crit"),
        pytest.param({"crit": []}, "crit", id="crit-empty"),
        pytest.param({"b64": False, "crit": ["b64"]}, "crit", id="b64-with-crit"),
        pytest.param({"b64": False}, "b64", id="b64-false"),
        pytest.param({"jku": "https://evil.example.net/keys"}, "jku", id="jku"),
        pytest.param({"jwk": {"kty": "RSA"}}, "jwk", id="jwk"),
        pytest.param({"x5u": "https://evil.example.net/cert"}, "x5u", id="x5u"),
        pytest.param({"x5c": ["MIIB"]}, "x5c", id="x5c"),
        pytest.param({"cty": "JWT"}, "cty", id="nested"),
        pytest.param({"enc": "A256GCM"}, "enc", id="encrypted-header"),
        pytest.param({"zip": "DEF"}, "zip", id="compressed"),
        pytest.param({"typ": "at+jwt"}, "typ", id="access-token"),
        pytest.param({"typ": "application/at+jwt"}, "typ", id="access-token-in-full"),
        pytest.param({"typ": "logout+jwt"}, "typ", id="logout-token"),
        pytest.param({"typ": None}, "typ", id="typ-null"),
        pytest.param({"typ": ""}, "typ", id="typ-empty"),
        pytest.param({"kid": None}, "kid", id="kid-null"),
        pytest.param({"kid": 7}, "kid", id="kid-number"),
        pytest.param({"kid": ""}, "kid", id="kid-empty"),
        pytest.param({"kid": "k" * 257}, "kid", id="kid-too-long"),
        pytest.param({"x": "a" * 1024}, "header", id="huge-header"),
        pytest.param({"x": [[[[1]]]]}, "header", id="deep-header"),
        pytest.param(b'{"alg":"none","alg":"RS256","kid":"rsa"}', "header", id="duplicate-alg"),
        pytest.param(b'{"alg":"RS256","kid":"rsa","kid":"x"}', "header", id="duplicate-kid"),
        pytest.param(b'["RS256"]', "header", id="header-list"),
        pytest.param(b"RS256", "header", id="header-not-json"),
        pytest.param(b"", "header", id="header-empty"),
        pytest.param(b'{"alg":"RS256"\xff}', "header", id="header-not-utf-8"),
    ],
)
def test_bad_header(smith: Smith, claims: dict[str, Any], header: Any, claim: str) -> None:
    """Refused before any key is asked for, although the signature would hold."""
    with pytest.raises(InvalidIdToken) as caught:
        header_of(smith.token(claims, header=header), EXPECTED)
    assert caught.value.claim == claim


def test_an_algorithm_nobody_knows_cannot_be_allowed(smith: Smith, claims: dict[str, Any]) -> None:
    """Not even configuration brings none or HMAC back."""
    careless = replace(EXPECTED, algorithms=("none", "HS256"))
    for raw in (smith.confused(claims), smith.token(claims, header={"alg": "none"})):
        with pytest.raises(InvalidIdToken, match="alg"):
            header_of(raw, careless)


def parts(raw: str) -> list[str]:
    """Header, payload and signature as text."""
    return raw.split(".")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda p: "", id="empty"),
        pytest.param(lambda p: ".".join(p[:2]), id="two-parts"),
        pytest.param(lambda p: ".".join([*p, p[2], p[2]]), id="five-parts-jwe"),
        pytest.param(lambda p: ".".join([*p, ""]), id="dot-at-the-end"),
        pytest.param(lambda p: f"{p[0]}.{p[1]}.", id="no-signature"),
        pytest.param(lambda p: "..", id="three-empty-parts"),
        pytest.param(lambda p: f"{p[0]}.{p[1]}.{p[2]}==", id="padded-signature"),
        pytest.param(lambda p: f"{p[0]}=.{p[1]}.{p[2]}", id="padded-header"),
        pytest.param(lambda p: f"{p[0]}.{p[1]}\n.{p[2]}", id="newline"),
        pytest.param(lambda p: f" {p[0]}.{p[1]}.{p[2]}", id="leading-space"),
        pytest.param(lambda p: f"{p[0]}.{p[1]}.{p[2][:-1]}B", id="stray-bits-in-the-signature"),
        pytest.param(lambda p: f"{p[0]}.{p[1]}.{p[2][:10]}+/{p[2][12:]}", id="the-other-alphabet"),
        pytest.param(lambda p: f"{p[0]}.{p[1]}.{p[2]}\u00e4", id="not-ascii"),
        pytest.param(lambda p: f"{p[0]}.{p[1] + 'A' * 65536}.{p[2]}", id="too-long"),
        pytest.param(lambda p: json.dumps({"payload": p[1], "signatures": []}), id="json-serialisation"),
    ],
)
def test_bad_shape(smith: Smith, claims: dict[str, Any], change: Any) -> None:
    """Exactly one compact JWS in its one spelling, and no part of it in the message."""
    raw = change(parts(smith.token(claims)))
    with pytest.raises(InvalidIdToken) as caught:
        header_of(raw, EXPECTED)
    assert caught.value.claim in ("id_token", "signature")
    assert not raw or raw[:30] not in str(caught.value)


def test_a_nested_token(smith: Smith, key: Key, claims: dict[str, Any]) -> None:
    """A payload that is a token itself is not unwrapped."""
    with pytest.raises(InvalidIdToken, match="payload"):
        check(smith.token(smith.token(claims).encode()), key)


def test_confusion_of_key_kinds(smith: Smith, key: Key, claims: dict[str, Any]) -> None:
    """HS256 keyed with the RSA public key."""
    with pytest.raises(InvalidIdToken, match="alg"):
        check(smith.confused(claims), key)


def test_foreign_signature(smith: Smith, key: Key, claims: dict[str, Any]) -> None:
    """Signed by somebody else under our issuer's kid."""
    with pytest.raises(InvalidIdToken, match="signature"):
        check(smith.token(claims, key="rsa2", header={"kid": "rsa"}), key)


def test_another_algorithm_s_signature(smith: Smith, key: Key, claims: dict[str, Any]) -> None:
    """PS256 bytes under an RS256 header."""
    with pytest.raises(InvalidIdToken, match="signature"):
        check(smith.token(claims, alg="PS256", header={"alg": "RS256"}), key)


def test_changed_payload(smith: Smith, key: Key, claims: dict[str, Any]) -> None:
    """A claim changed after signing."""
    header, _, signature = parts(smith.token(claims))
    forged = b64(json.dumps(claims | {"groups": ["system:masters"]}).encode())
    with pytest.raises(InvalidIdToken, match="signature"):
        check(f"{header}.{forged}.{signature}", key)


def test_zero_signature_of_ecdsa(smith: Smith, claims: dict[str, Any]) -> None:
    """r = s = 0 verifies nothing."""
    (key,) = parse_keyset(smith.keyset(smith.jwk("p256"))).keys
    header, payload, _ = parts(smith.token(claims, key="p256", alg="ES256"))
    with pytest.raises(InvalidIdToken, match="signature"):
        check(f"{header}.{payload}.{b64(bytes(64))}", key)


@pytest.mark.parametrize("name", ["rsa2", "p256"])
def test_the_wrong_key(smith: Smith, claims: dict[str, Any], name: str) -> None:
    """A key of another kid or kind is not tried."""
    (key,) = parse_keyset(smith.keyset(smith.jwk(name))).keys
    with pytest.raises(InvalidIdToken) as caught:
        check(smith.token(claims), key)
    assert caught.value.claim == "kid"
    with pytest.raises(InvalidIdToken):
        check(smith.token(claims, header={"kid": "drop"}), key)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"[]", id="list"),
        pytest.param(b"", id="empty"),
        pytest.param(b'{"exp":NaN}', id="exp-nan"),
        pytest.param(b'{"exp":1e999}', id="exp-infinite"),
        pytest.param(b'{"sub":"a","sub":"b"}', id="duplicate-sub"),
        pytest.param(b'{"a":' * 20 + b"1" + b"}" * 20, id="too-deep"),
    ],
)
def test_bad_payload(smith: Smith, key: Key, payload: bytes) -> None:
    """Even a signed payload is read strictly."""
    with pytest.raises(InvalidIdToken) as caught:
        check(smith.token(payload), key)
    assert caught.value.claim == "payload"


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        pytest.param({"iss": "https://evil.example.net"}, "iss", id="invalid-iss"),
        pytest.param({"aud": "other"}, "aud", id="invalid-aud"),
        pytest.param({"nonce": "other"}, "nonce", id="nonce-invalid"),
        pytest.param({"exp": NOW}, "exp", id="expired"),
        pytest.param({"exp": True}, "exp", id="exp-bool"),
        pytest.param({"exp": 1e300}, "exp", id="exp-1e300"),
    ],
)
def test_claims_are_checked(
    smith: Smith, key: Key, claims: dict[str, Any], changes: dict[str, Any], claim: str
) -> None:
    """A genuine token that is not for us, or not now."""
    with pytest.raises(InvalidIdToken) as caught:
        check(smith.token(claims | changes), key)
    assert caught.value.claim == claim


@pytest.mark.parametrize(
    ("name", "alg", "digest"),
    [("rsa", "RS256", "sha256"), ("p384", "ES384", "sha384"), ("ed", "EdDSA", "sha512")],
)
def test_at_hash(smith: Smith, claims: dict[str, Any], name: str, alg: str, digest: str) -> None:
    """The hash follows the algorithm (OIDC Core §3.1.3.6)."""
    (key,) = parse_keyset(smith.keyset(smith.jwk(name))).keys
    raw = smith.token(claims | {"at_hash": smith.at_hash("access", digest)}, key=name, alg=alg)
    expected = replace(EXPECTED, algorithms=(alg,))
    assert check(raw, key, expected, access_token="access")
    assert check(raw, key, expected, access_token=None)
    with pytest.raises(InvalidIdToken, match="at_hash"):
        check(raw, key, expected, access_token="swapped")


@pytest.mark.parametrize("at_hash", ["", "x", 7, "\u00fc"])
def test_invalid_at_hash(smith: Smith, key: Key, claims: dict[str, Any], at_hash: Any) -> None:
    """Present means checked; absent is fine in the code flow."""
    assert check(smith.token(claims), key, access_token="access")
    with pytest.raises(InvalidIdToken, match="at_hash"):
        check(smith.token(claims | {"at_hash": at_hash}), key, access_token="access")


def refreshed(
    smith: Smith,
    key: Key,
    payload: dict[str, Any],
    *,
    before: dict[str, Any],
    audiences: frozenset[str] = frozenset(),
    exactly: frozenset[str] | None = None,
) -> Claims:
    """Verify ``payload`` as what a refresh brought after the token with ``before``."""
    wide = replace(EXPECTED, audiences=frozenset({"a", "b"}))
    previous = check(smith.token(before), key, wide)
    return verify_refreshed(
        smith.token(payload),
        key=key,
        expected=replace(EXPECTED, audiences=audiences, nonce="unused"),
        now=NOW,
        access_token=None,
        previous=previous,
        exactly=exactly,
    )


def without(claims: dict[str, Any], name: str) -> dict[str, Any]:
    """A payload without one member."""
    return {k: v for k, v in claims.items() if k != name}


def test_refresh_with_the_nonce_as_dex_does(smith: Smith, key: Key, claims: dict[str, Any]) -> None:
    """The same nonce again, new groups, new times."""
    got = refreshed(smith, key, claims | {"groups": ["team-c"], "exp": NOW + 7200}, before=claims)
    assert (got.groups, got.expires, got.nonce) == (("team-c",), NOW + 7200, claims["nonce"])


def test_refresh_carries_over_what_it_leaves_out(smith: Smith, key: Key, claims: dict[str, Any]) -> None:
    """Nonce, auth_time and sid of the login stay known for the next refresh."""
    before = claims | {"auth_time": NOW - 100, "sid": "s-1"}
    got = refreshed(smith, key, without(claims, "nonce"), before=before)
    assert (got.nonce, got.auth_time, got.sid) == (claims["nonce"], NOW - 100, "s-1")


def test_refresh_may_bring_what_was_absent(smith: Smith, key: Key, claims: dict[str, Any]) -> None:
    """An issuer that begins to send sid and auth_time is not refused."""
    got = refreshed(smith, key, claims | {"auth_time": NOW - 100, "sid": "s-2"}, before=claims)
    assert (got.auth_time, got.sid) == (NOW - 100, "s-2")


@pytest.mark.parametrize(
    ("aud", "audiences", "good"),
    [
        pytest.param(["a", CLIENT], {"a"}, True, id="narrowed-to-a"),
        pytest.param([CLIENT], set(), True, id="narrowed-to-ourselves"),
        pytest.param(["a", "b", CLIENT], {"a", "b"}, True, id="unchanged"),
        pytest.param([CLIENT, "b", "a"], {"a", "b"}, True, id="order-does-not-matter"),
        pytest.param(["b", CLIENT], {"a"}, False, id="asked-for-a-got-b"),
        pytest.param(["a", CLIENT], {"a", "b"}, False, id="narrower-than-asked"),
        pytest.param([CLIENT], {"a"}, False, id="lost-the-cluster"),
        pytest.param(["a", "b", CLIENT], {"a"}, False, id="wider-than-asked"),
    ],
)
def test_refresh_audience(
    smith: Smith, key: Key, claims: dict[str, Any], aud: list[str], audiences: set[str], good: bool
) -> None:
    """As before, or exactly what was asked for."""
    before = claims | {"aud": ["a", "b", CLIENT], "azp": CLIENT}
    payload = claims | {"aud": aud, "azp": CLIENT}
    if good:
        assert refreshed(smith, key, payload, before=before, audiences=frozenset(audiences))
    else:
        with pytest.raises(InvalidIdToken, match="aud"):
            refreshed(smith, key, payload, before=before, audiences=frozenset(audiences))


NARROWED = [
    pytest.param(["a", CLIENT], "a", True, id="a"),
    pytest.param([CLIENT, "a", "a"], "a", True, id="in-any-order-and-twice"),
    pytest.param(CLIENT, CLIENT, True, id="ourselves"),
    pytest.param(["a", "b", CLIENT], "a", False, id="as-before-though-narrowing-was-asked-for"),
    pytest.param(["a", CLIENT], CLIENT, False, id="wider-than-ourselves"),
    pytest.param(["b", CLIENT], "a", False, id="another-cluster"),
    pytest.param(CLIENT, "a", False, id="without-the-cluster"),
    pytest.param(["a"], "a", False, id="without-us"),
]


@pytest.mark.parametrize(("aud", "audience", "good"), NARROWED)
def test_refresh_for_exactly_one(
    smith: Smith, key: Key, claims: dict[str, Any], aud: object, audience: str, good: bool
) -> None:
    """Whatever the token before was for and the configuration allows."""
    before = claims | {"aud": ["a", "b", CLIENT], "azp": CLIENT}
    exactly = frozenset({CLIENT, audience})
    arguments: dict[str, Any] = {"before": before, "audiences": frozenset({"a", "b"}), "exactly": exactly}
    if good:
        assert set(refreshed(smith, key, before | {"aud": aud}, **arguments).audience) == exactly
    else:
        with pytest.raises(InvalidIdToken) as caught:
            refreshed(smith, key, before | {"aud": aud}, **arguments)
        assert caught.value.claim == "aud"


@pytest.mark.parametrize(("aud", "audience", "good"), NARROWED)
def test_exactly_one(smith: Smith, key: Key, claims: dict[str, Any], aud: object, audience: str, good: bool) -> None:
    """A login may be asked the same."""
    raw = smith.token(claims | {"aud": aud, "azp": CLIENT})
    exactly = frozenset({CLIENT, audience})
    if good:
        assert check(raw, key, exactly=exactly)
    else:
        with pytest.raises(InvalidIdToken, match="aud"):
            check(raw, key, exactly=exactly)


def test_exactly_one_says_what_came(smith: Smith, key: Key, claims: dict[str, Any]) -> None:
    """The message has both audiences."""
    with pytest.raises(InvalidIdToken, match=r"expected \['a', 'gate'\], got \['gate'\]"):
        check(smith.token(claims), key, exactly=frozenset({"a", CLIENT}))


def test_a_foreign_audience_needs_azp(smith: Smith, key: Key, claims: dict[str, Any]) -> None:
    """Also where exactly that audience was asked for (OIDC Core §3.1.3.7)."""
    raw = smith.token(without(claims, "azp") | {"aud": ["a", CLIENT]})
    with pytest.raises(InvalidIdToken, match="azp"):
        check(raw, key, exactly=frozenset({"a", CLIENT}))


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        pytest.param({"sub": "somebody-else"}, "sub", id="refresh-token-invalid-sub"),
        pytest.param({"iss": "https://evil.example.net"}, "iss", id="refresh-token-invalid-issuer"),
        pytest.param({"azp": "other"}, "azp", id="azp-changed"),
        pytest.param({"auth_time": NOW - 50}, "auth_time", id="auth-time-changed"),
        pytest.param({"nonce": "another"}, "nonce", id="nonce-changed"),
        pytest.param({"exp": NOW - 1}, "exp", id="already-expired"),
    ],
)
def test_refresh_refused(smith: Smith, key: Key, claims: dict[str, Any], changes: dict[str, Any], claim: str) -> None:
    """A refresh renews; it never makes another login (OIDC Core §12.2)."""
    before = claims | {"auth_time": NOW - 100}
    with pytest.raises(InvalidIdToken) as caught:
        refreshed(smith, key, before | changes, before=before)
    assert caught.value.claim == claim


def test_refresh_of_another_issuer_s_session(smith: Smith, key: Key, claims: dict[str, Any]) -> None:
    """Claims of one issuer are never continued by another's token."""
    previous = replace(check(smith.token(claims), key), issuer="https://old.example.com")
    with pytest.raises(InvalidIdToken, match="iss"):
        verify_refreshed(smith.token(claims), key=key, expected=EXPECTED, now=NOW, access_token=None, previous=previous)
