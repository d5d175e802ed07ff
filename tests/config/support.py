"""Documents, files and certificates for the configuration's tests."""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from oidcgate.config.load import parse_config
from oidcgate.errors import ConfigError

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>'
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def document(**sections: Any) -> dict[str, Any]:
    """The smallest good document, with sections set or replaced."""
    return {
        "provider": {"issuer": "https://dex.example.com", "client_id": "gate"},
        "sites": [site()],
        **sections,
    }


def site(**keys: Any) -> dict[str, Any]:
    """A good site, with keys set or replaced."""
    return {"url": "https://ui.example.com", "upstream": {"url": "http://ui:8080"}, **keys}


def upstream(**keys: Any) -> dict[str, Any]:
    """A document whose only site has this upstream."""
    return document(sites=[site(upstream={"url": "http://ui:8080", **keys})])


def provider(**keys: Any) -> dict[str, Any]:
    """A document whose provider has these keys."""
    return document(provider={"issuer": "https://dex.example.com", "client_id": "gate", **keys})


def problems(given: object, folder: Path = Path("/"), *, files: bool = False) -> list[str]:
    """Everything wrong with a document, one text each."""
    with pytest.raises(ConfigError) as caught:
        parse_config(given, folder=folder, files=files)
    return [str(problem) for problem in caught.value.problems]


def private(path: Path, content: bytes | str = b"a-secret\n") -> Path:
    """A file that only its owner may read."""
    path.touch(0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def key_and_certificate() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A key, and a certificate for it in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ui.example.com")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return key, certificate.public_bytes(serialization.Encoding.PEM)


def pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    """A key in PEM."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def keys_of(node: Any, prefix: str = "") -> Iterator[str]:
    """Every key's path in a document, items of lists as ``[]``."""
    if isinstance(node, dict):
        for key, value in node.items():
            path = f"{prefix}.{key}" if prefix else key
            yield path
            yield from keys_of(value, path)
    elif isinstance(node, list):
        for item in node:
            yield from keys_of(item, prefix + "[]")
