"""A signer that signs whatever it is told to, and the names that the tokens of these tests use."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

ISSUER = "https://dex.example.com/dex"
CLIENT = "gate"
NOW = 1_800_000_000.0


def b64(data: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Smith:
    """Keys by name, their JWKs, and tokens with any header, payload and signature."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {
            "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "rsa2": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "small": rsa.generate_private_key(public_exponent=65537, key_size=1024),
            "p256": ec.generate_private_key(ec.SECP256R1()),
            "p384": ec.generate_private_key(ec.SECP384R1()),
            "p521": ec.generate_private_key(ec.SECP521R1()),
            "k256": ec.generate_private_key(ec.SECP256K1()),
            "ed": ed25519.Ed25519PrivateKey.generate(),
        }

    def jwk(self, name: str, *, private: bool = False, **members: Any) -> dict[str, Any]:
        """The key's JWK; members that are None are left out."""
        key = self.keys[name] if private else self.keys[name].public_key()
        family: Any = RSAAlgorithm if name in ("rsa", "rsa2", "small") else ECAlgorithm
        family = OKPAlgorithm if name == "ed" else family
        jwk: dict[str, Any] = {**family.to_jwk(key, as_dict=True), "kid": name, "use": "sig"}
        jwk.pop("key_ops", None)
        return {k: v for k, v in (jwk | members).items() if v is not None}

    def keyset(self, *jwks: Any) -> bytes:
        """A JWK Set document."""
        return json.dumps({"keys": list(jwks)}).encode()

    def sign(self, name: str, alg: str, data: bytes) -> bytes:
        """A JWS signature by a key."""
        signature: bytes = get_default_algorithms()[alg].sign(data, self.keys[name])
        return signature

    def token(
        self,
        claims: Mapping[str, Any] | bytes,
        *,
        key: str = "rsa",
        alg: str = "RS256",
        header: Mapping[str, Any] | bytes | None = None,
    ) -> str:
        """A compact JWS, signed by ``key`` with ``alg`` whatever ``header`` says; bytes are taken as they are."""
        if not isinstance(header, bytes):
            merged = {"alg": alg, "kid": key} | dict(header or {})
            header = json.dumps({k: v for k, v in merged.items() if v != "drop"}).encode()
        payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        signed = f"{b64(header)}.{b64(payload)}"
        return f"{signed}.{b64(self.sign(key, alg, signed.encode()))}"

    def confused(self, claims: Mapping[str, Any]) -> str:
        """A token signed by HMAC with the RSA public key's PEM: the classic confusion of key kinds."""
        pem = (
            self.keys["rsa"]
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        header = b64(json.dumps({"alg": "HS256", "kid": "rsa"}).encode())
        signed = f"{header}.{b64(json.dumps(claims).encode())}"
        return f"{signed}.{b64(hmac.new(pem, signed.encode(), 'sha256').digest())}"

    @staticmethod
    def at_hash(access_token: str, digest: str = "sha256") -> str:
        """OIDC Core §3.1.3.6."""
        full = hashlib.new(digest, access_token.encode()).digest()
        return b64(full[: len(full) // 2])
