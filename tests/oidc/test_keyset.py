"""Public keys: which get in, and which may check what."""

import json
from typing import Any

import pytest

from oidcgate.errors import InvalidMetadata
from oidcgate.oidc.keyset import KeySet, parse_keyset
from tests.oidc.smith import Smith

FAMILIES = {
    "rsa": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    "p256": ["ES256"],
    "p384": ["ES384"],
    "p521": ["ES512"],
    "ed": ["EdDSA"],
}
PAIRS = [(name, alg) for name, algs in FAMILIES.items() for alg in algs]


@pytest.mark.parametrize(("name", "alg"), PAIRS)
def test_real_signatures(smith: Smith, name: str, alg: str) -> None:
    """Every algorithm checks what its key signed, and nothing else."""
    key = parse_keyset(smith.keyset(smith.jwk(name))).find(name, alg)
    assert key is not None
    signature = smith.sign(name, alg, b"data")
    assert key.verifies(alg, b"data", signature)
    assert not key.verifies(alg, b"Data", signature)
    assert not key.verifies(alg, b"data", signature[:-1])
    assert not key.verifies(alg, b"data", b"")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_key_fits_its_own_algorithms_only(smith: Smith, name: str) -> None:
    """Type and curve decide; none, HS* and unknown names fit nothing."""
    (key,) = parse_keyset(smith.keyset(smith.jwk(name))).keys
    every = [alg for _, alg in PAIRS] + ["none", "HS256", "HS512", "ES256K", "", "rs256"]
    assert [alg for alg in every if key.fits(alg)] == FAMILIES[name]
    assert not key.verifies("HS256", b"data", b"signature")


@pytest.mark.parametrize(
    ("members", "fits"),
    [
        pytest.param({}, True, id="use-sig"),
        pytest.param({"use": None}, True, id="no-use"),
        pytest.param({"use": "enc"}, False, id="for-encryption"),
        pytest.param({"alg": "RS256"}, True, id="own-alg"),
        pytest.param({"alg": "RS512"}, False, id="another-alg"),
        pytest.param({"alg": "RSA-OAEP"}, False, id="alg-of-encryption"),
        pytest.param({"key_ops": ["verify"]}, True, id="may-verify"),
        pytest.param({"key_ops": ["encrypt"]}, False, id="may-not-verify"),
        pytest.param({"key_ops": []}, False, id="may-nothing"),
    ],
)
def test_a_key_obeys_its_own_limits(smith: Smith, members: dict[str, Any], fits: bool) -> None:
    """``use``, ``key_ops`` and ``alg`` of the key are honoured (RFC 7517 §4)."""
    keyset = parse_keyset(smith.keyset(smith.jwk("rsa", **members)))
    assert (keyset.find("rsa", "RS256") is not None) is fits


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(lambda smith: smith.jwk("small"), id="rsa-1024"),
        pytest.param(lambda smith: smith.jwk("k256"), id="secp256k1"),
        pytest.param(lambda smith: smith.jwk("rsa", private=True), id="private-rsa"),
        pytest.param(lambda smith: smith.jwk("p256", private=True), id="private-ec"),
        pytest.param(lambda smith: smith.jwk("ed", private=True), id="private-ed25519"),
        pytest.param(lambda _: {"kty": "oct", "k": "c2VjcmV0", "kid": "x"}, id="symmetric"),
        pytest.param(lambda _: {"kty": "OKP", "crv": "X25519", "x": "A" * 43}, id="x25519"),
        pytest.param(lambda _: {"kty": "new", "kid": "x"}, id="unknown-type"),
        pytest.param(lambda _: {"kid": "x"}, id="no-type"),
        pytest.param(lambda _: "text", id="not-an-object"),
        pytest.param(lambda smith: smith.jwk("rsa", kid=7), id="kid-is-a-number"),
        pytest.param(lambda smith: smith.jwk("rsa", kid=""), id="kid-is-empty"),
        pytest.param(lambda smith: smith.jwk("rsa", kid="k" * 257), id="kid-too-long"),
        pytest.param(lambda smith: smith.jwk("rsa", kty=["RSA"]), id="type-is-a-list"),
        pytest.param(lambda smith: smith.jwk("rsa", key_ops="verify"), id="key-ops-is-a-string"),
        pytest.param(lambda smith: smith.jwk("rsa", key_ops=[1]), id="key-ops-of-numbers"),
        pytest.param(lambda smith: smith.jwk("rsa", n=None), id="no-modulus"),
        pytest.param(lambda smith: smith.jwk("rsa", n=smith.jwk("rsa")["n"] + "="), id="padded-modulus"),
        pytest.param(lambda smith: smith.jwk("rsa", e="Ag"), id="even-exponent"),
        pytest.param(lambda smith: smith.jwk("rsa", n="_" * 1400), id="rsa-too-long"),
        pytest.param(lambda smith: smith.jwk("p256", x="AA"), id="short-coordinate"),
        pytest.param(lambda smith: smith.jwk("p256", y=smith.jwk("p256")["x"]), id="not-on-the-curve"),
        pytest.param(lambda smith: smith.jwk("p256", crv="P-384"), id="another-curve-s-size"),
        pytest.param(lambda smith: smith.jwk("ed", x="AA"), id="short-ed25519"),
    ],
)
def test_bad_entries_are_passed_over(smith: Smith, entry: Any) -> None:
    """One entry that cannot be used costs the others nothing."""
    keyset = parse_keyset(smith.keyset(entry(smith), smith.jwk("rsa2")))
    assert [key.kid for key in keyset.keys] == ["rsa2"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>", id="html"),
        pytest.param(b"[]", id="a-list"),
        pytest.param(b"{}", id="no-keys"),
        pytest.param(b'{"keys":{}}', id="keys-no-list"),
        pytest.param(b'{"keys":[],"keys":[]}', id="duplicate-member"),
        pytest.param(json.dumps({"keys": [{}] * 51}).encode(), id="more-than-fifty"),
        pytest.param(b'{"keys":[],"x":"' + b"a" * 262_144 + b'"}', id="too-big"),
    ],
)
def test_what_is_no_keyset(body: bytes) -> None:
    """The document itself must hold."""
    with pytest.raises(InvalidMetadata):
        parse_keyset(body)


def test_an_empty_keyset() -> None:
    """A set without keys is a set: it fits nothing."""
    assert parse_keyset(b'{"keys":[]}') == KeySet()
    assert KeySet().find(None, "RS256") is None


def test_kid_selects(smith: Smith) -> None:
    """With a kid only that key is looked at, and it must fit."""
    keyset = parse_keyset(smith.keyset(smith.jwk("rsa"), smith.jwk("rsa2"), smith.jwk("p256")))
    found = keyset.find("rsa2", "RS256")
    assert found is not None
    assert found.kid == "rsa2"
    assert keyset.find("rsa2", "ES256") is None
    assert keyset.find("RSA2", "RS256") is None
    assert keyset.find("absent", "RS256") is None


def test_without_kid(smith: Smith) -> None:
    """kid-absent-single-jwks and -multiple-jwks: taken only if exactly one key fits."""
    several = parse_keyset(smith.keyset(smith.jwk("rsa", kid=None), smith.jwk("rsa2"), smith.jwk("p256")))
    assert several.find(None, "RS256") is None
    found = several.find(None, "ES256")
    assert found is not None
    assert found.kid == "p256"


def test_one_kid_for_two_kinds_of_key(smith: Smith) -> None:
    """RFC 7517 §4.5 lets keys of different kinds share a kid: the algorithm tells them apart."""
    keyset = parse_keyset(smith.keyset(smith.jwk("rsa", kid="k"), smith.jwk("p256", kid="k")))
    found = keyset.find("k", "ES256")
    assert found is not None
    assert found.kty == "EC"
    twice = parse_keyset(smith.keyset(smith.jwk("rsa", kid="k"), smith.jwk("rsa2", kid="k")))
    assert twice.find("k", "RS256") is None
