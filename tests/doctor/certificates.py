"""Certificates of authorities of their own, made for a test."""

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.stack import signing_key

HERE = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Files:
    """A server's chain and key, and the authority that signed it."""

    ca: Path
    chain: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """For a server."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.chain, self.key)
        return context


def issued(folder: Path, name: str, hosts: tuple[str, ...] = HERE, *, days: float = 90, alone: bool = False) -> Files:
    """
    A certificate for some hosts.

    Args:
        days: how long it lasts from now; negative = it ended so long ago.
        alone: signed by itself, and not by the authority, as a Dashboard's is.
    """
    key = signing_key()
    now = datetime.datetime.now(datetime.UTC)
    span = now - datetime.timedelta(days=200), now + datetime.timedelta(days=days)
    authority = _signed(f"CA of {name}", f"CA of {name}", span[0], now + datetime.timedelta(days=400), ca=True)
    leaf = _signed(name, name if alone else f"CA of {name}", *span, hosts=hosts)
    files = Files(folder / f"{name}-ca.pem", folder / f"{name}.pem", folder / f"{name}.key")
    files.ca.write_bytes(authority.public_bytes(Encoding.PEM))
    files.chain.write_bytes(leaf.public_bytes(Encoding.PEM))
    files.key.touch(0o600)
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def _signed(
    subject: str,
    by: str,
    begins: datetime.datetime,
    ends: datetime.datetime,
    *,
    hosts: tuple[str, ...] = (),
    ca: bool = False,
) -> x509.Certificate:
    key = signing_key()
    builder = x509.CertificateBuilder(_name(by), _name(subject), key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(begins).not_valid_after(ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
    )
    builder = builder.add_extension(
        x509.KeyUsage(True, False, False, False, False, ca, ca, False, False), critical=True
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
    return builder.sign(key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
