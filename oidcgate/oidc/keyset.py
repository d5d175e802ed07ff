"""
The provider's public keys, and which of them a token may be checked with.

Pure.

- Only public RSA (2048 bits or more), EC and Ed25519 keys get in; an entry that is anything else is passed
  over, so that one new kind of key does not stop every login.
- A key serves the algorithms of its own type and curve, within what its ``use``, ``key_ops`` and ``alg``
  allow. No symmetric algorithm is known here, so no public key can ever be taken for a shared secret.

Sources: RFC 7517 §4, §5; RFC 7518 §3, §6; RFC 8037 §2; RFC 8725 §3.1, §3.5; OIDC Core §10.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from jwt.algorithms import get_default_algorithms

from oidcgate.errors import InvalidMetadata
from oidcgate.oidc.strictjson import decode_base64url, loads_object

PublicKey = RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey

MAX_DOCUMENT = 256 * 1024  # bytes
MAX_KEYS = 50
MAX_KID = 256  # characters
_RSA_BITS = range(2048, 8193)  # below: RFC 7518 §3.3; above: a signature check that costs milliseconds
_CURVES: Final[Mapping[str, type[ec.EllipticCurve]]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}
_SECRET_MEMBERS = ("d", "k", "p", "q", "dp", "dq", "qi", "oth")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What a JWS algorithm needs: key type, curve, and the hash that ``at_hash`` uses with it."""

    kty: str
    crv: str | None
    digest: str


ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    "RS256": Algorithm("RSA", None, "sha256"),
    "RS384": Algorithm("RSA", None, "sha384"),
    "RS512": Algorithm("RSA", None, "sha512"),
    "PS256": Algorithm("RSA", None, "sha256"),
    "PS384": Algorithm("RSA", None, "sha384"),
    "PS512": Algorithm("RSA", None, "sha512"),
    "ES256": Algorithm("EC", "P-256", "sha256"),
    "ES384": Algorithm("EC", "P-384", "sha384"),
    "ES512": Algorithm("EC", "P-521", "sha512"),
    "EdDSA": Algorithm("OKP", "Ed25519", "sha512"),
}
_VERIFIERS: Final = {name: each for name, each in get_default_algorithms().items() if name in ALGORITHMS}


@dataclass(frozen=True, slots=True)
class Key:
    """One public key; ``crv`` is its curve, None for RSA."""

    kid: str | None
    kty: str
    alg: str | None
    use: str | None
    key_ops: tuple[str, ...] | None
    public: PublicKey = field(repr=False)
    crv: str | None = None

    def fits(self, alg: str) -> bool:
        """May signatures of this algorithm be checked with this key (RFC 8725 §3.1)?"""
        wanted = ALGORITHMS.get(alg)
        return (
            wanted is not None
            and (self.kty, self.crv) == (wanted.kty, wanted.crv)
            and self.alg in (None, alg)
            and self.use in (None, "sig")
            and (self.key_ops is None or "verify" in self.key_ops)
        )

    def verifies(self, alg: str, signed: bytes, signature: bytes) -> bool:
        """Is ``signature`` this key's over ``signed``? False too when the key does not fit the algorithm."""
        return self.fits(alg) and _VERIFIERS[alg].verify(signed, self.public, signature)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of one document."""

    keys: tuple[Key, ...] = ()

    def find(self, kid: str | None, alg: str) -> Key | None:
        """
        The one key for a token's header: ``kid`` selects; without it every key is a candidate (OIDC Core
        §10.1). None when no key fits, and when several do: a guess among keys is not a check.
        """
        fitting = [key for key in self.keys if kid in (None, key.kid) and key.fits(alg)]
        return fitting[0] if len(fitting) == 1 else None


def parse_keyset(body: bytes) -> KeySet:
    """
    Read a JWK Set.

    Args: ``body`` at most 256 KiB of JSON. Returns: the usable keys, perhaps none.
    Raises: InvalidMetadata when it is no JWK Set, or has more than 50 entries.
    """
    try:
        entries = loads_object(body, max_bytes=MAX_DOCUMENT).get("keys")
    except ValueError as error:
        raise InvalidMetadata(f"key set: {error}") from error
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise InvalidMetadata(f"key set: expected a list of at most {MAX_KEYS} keys")
    return KeySet(tuple(key for key in map(_key, entries) if key is not None))


def _key(entry: object) -> Key | None:
    """One entry as a key, or None for whatever cannot be used (RFC 7517 §5: such entries are ignored)."""
    if not isinstance(entry, dict) or any(name in entry for name in _SECRET_MEMBERS):
        return None
    try:
        kid, kty = _text(entry, "kid"), _text(entry, "kty")
        if kty is None or (kid is not None and not 0 < len(kid) <= MAX_KID):
            return None
        return Key(
            kid=kid,
            kty=kty,
            alg=_text(entry, "alg"),
            use=_text(entry, "use"),
            key_ops=_operations(entry.get("key_ops")),
            public=_public_key(kty, entry),
            crv=_text(entry, "crv") if kty != "RSA" else None,
        )
    except ValueError:
        return None


def _public_key(kty: str, entry: Mapping[str, object]) -> PublicKey:
    crv = _text(entry, "crv") or ""
    if kty == "RSA":
        numbers = RSAPublicNumbers(e=int.from_bytes(_bytes(entry, "e")), n=int.from_bytes(_bytes(entry, "n")))
        if numbers.n.bit_length() not in _RSA_BITS:
            raise ValueError("an RSA key that is too short or too long")
        return numbers.public_key()
    if kty == "EC" and crv in _CURVES:
        curve = _CURVES[crv]()
        x, y = _bytes(entry, "x"), _bytes(entry, "y")
        if not len(x) == len(y) == (curve.key_size + 7) // 8:  # RFC 7518 §6.2.1.2: full size, always
            raise ValueError("coordinates of a wrong length")
        # Refuses points that are not on the curve.
        point = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve)
        return point.public_key()
    if kty == "OKP" and crv == "Ed25519":
        return Ed25519PublicKey.from_public_bytes(_bytes(entry, "x"))
    raise ValueError("a kind of key that is not used here")


def _text(entry: Mapping[str, object], name: str) -> str | None:
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is not a string")
    return value


def _bytes(entry: Mapping[str, object], name: str) -> bytes:
    return decode_base64url(_text(entry, name) or "")


def _operations(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("key_ops is not a list of strings")
    return tuple(value)
