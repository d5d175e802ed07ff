"""
Makes what docker-compose.yaml needs and nobody should commit: the client's secret and Dex's certificate.

The certificate authority may sign for Dex's name alone, and its key is never written: whoever gives it to a browser to
trust cannot be harmed with it. What is there and good for another month stays as it is.
"""

import argparse
import datetime
import ipaddress
import os
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ISSUER_HOST = "dex.localhost"
DAY = datetime.timedelta(days=1)
LIFE = 365 * DAY
LEAST = 30 * DAY  # with less left, everything is made anew
FILES = ("gate/client-secret", "gate/ca.crt", "dex/client-secret", "dex/tls.key", "dex/tls.crt", "cluster/ca.crt")


def main() -> None:
    """Fill the three folders, each for the program that reads it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="holds gate, dex and cluster")
    parser.add_argument("--gate", type=int, required=True, help="number of the gate's user")
    parser.add_argument("--dex", type=int, required=True, help="number of Dex's user")
    given = parser.parse_args()
    now = datetime.datetime.now(datetime.UTC)
    if is_good(given.folder, now):
        print("everything is there")
        return
    authority, certificate, key = certificates(now)
    secret = secrets.token_urlsafe(32).encode()
    write(given.folder / "gate/client-secret", secret, 0o400, given.gate)
    write(given.folder / "gate/ca.crt", authority, 0o444)
    write(given.folder / "dex/client-secret", secret, 0o400, given.dex)
    write(given.folder / "dex/tls.key", key, 0o400, given.dex)
    write(given.folder / "cluster/ca.crt", authority, 0o444)
    write(given.folder / "dex/tls.crt", certificate, 0o444)  # the last: it says that all are there
    print(f"made the client secret, and a certificate for {ISSUER_HOST}")


def is_good(folder: Path, now: datetime.datetime) -> bool:
    """Whether every file is there, and the certificate good for another while."""
    if not all((folder / name).exists() for name in FILES):
        return False
    certificate = x509.load_pem_x509_certificate((folder / "dex/tls.crt").read_bytes())
    return certificate.not_valid_after_utc > now + LEAST


def certificates(now: datetime.datetime) -> tuple[bytes, bytes, bytes]:
    """The authority's certificate; one for the issuer's name, signed by it; and that one's key. All PEM."""
    name = x509.DNSName(ISSUER_HOST)
    signer, key = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    issuer = _called("oidcgate on this machine")
    anywhere = [x509.IPAddress(ipaddress.ip_network(network)) for network in ("0.0.0.0/0", "::/0")]
    authority = (
        _drawn(issuer, issuer, signer, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        # What is permitted of names says nothing of addresses (RFC 5280 §4.2.1.10), hence their exclusion.
        .add_extension(x509.NameConstraints(permitted_subtrees=[name], excluded_subtrees=anywhere), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    certificate = (
        _drawn(_called(ISSUER_HOST), issuer, key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return authority.public_bytes(Encoding.PEM), certificate.public_bytes(Encoding.PEM), private


def write(path: Path, content: bytes, mode: int, owner: int | None = None) -> None:
    """A file that is there whole or not at all, readable for its one reader."""
    aside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    with os.fdopen(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
    os.chmod(aside, mode)  # before the file is another's: a container without further rights could not any more
    if owner is not None:
        os.chown(aside, owner, -1)
    os.replace(aside, path)


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _drawn(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, now: datetime.datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
    numbered = builder.serial_number(x509.random_serial_number())
    return numbered.not_valid_before(now - DAY).not_valid_after(now + LIFE)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


if __name__ == "__main__":
    main()
