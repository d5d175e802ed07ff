"""A certificate authority for the lab: servers and clients on loopback trust it and nobody else."""

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
LOOPBACK = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
USES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


class Authority:
    """
    Signs certificates for programs on loopback.

    Args:
        folder: where certificates and keys are written.

    Attributes:
        ca_file: the authority's certificate, and ``pem`` what is in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = generate_private_key(SECP256R1())
        self._name = _name("lab authority")
        signed = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))
        self.ca_file = folder / "authority.pem"
        self.pem = signed.public_bytes(Encoding.PEM).decode()
        self.ca_file.write_text(self.pem)

    def issue(self, common_name: str, organization: str = "") -> tuple[Path, Path]:
        """Files with a certificate, for a server on loopback and for a client of this name, and with its key."""
        key = generate_private_key(SECP256R1())
        names = x509.SubjectAlternativeName(LOOPBACK)
        ends = x509.BasicConstraints(ca=False, path_length=None)
        signed = self._signed(_name(common_name, organization), key, ends, names, USES)
        stem = common_name.replace(":", "-")
        files = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        files[0].write_bytes(signed.public_bytes(Encoding.PEM))
        files[1].touch(0o600)
        files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files

    def server_context(self, common_name: str, *, asks: bool = False) -> ssl.SSLContext:
        """
        For a server on loopback.

        Args:
            asks: refuse clients without a certificate of this authority.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=self.pem)
        context.load_cert_chain(*self.issue(common_name))
        context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
        return context

    def client_context(self) -> ssl.SSLContext:
        """For a client of this authority's servers."""
        return ssl.create_default_context(cadata=self.pem)

    def _signed(
        self, subject: x509.Name, key: EllipticCurvePrivateKey, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(
            self._name, subject, key.public_key(), x509.random_serial_number(), now - DAY, now + DAY
        )
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        theirs = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        for extension in (*extensions, ours, theirs):
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())


def _name(common_name: str, organization: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
