"""
Why a call had no answer: the stage at which it ended, and what TLS did not like.

Pure but for knowing the client's errors. Their texts may quote what was received, so few of them are passed on.
"""

import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

import aiohttp
from cryptography import x509

from oidcgate.errors import OidcgateError

Stage = Literal["name", "tcp", "tls", "timeout", "reply"]
Reason = Literal["", "expired", "early", "untrusted", "self-signed", "mismatch", "plain"]
# OpenSSL's X509_V_ERR_*, as in ssl.SSLCertVerificationError.verify_code
REASONS: Final[Mapping[int, Reason]] = {
    2: "untrusted",
    9: "early",
    10: "expired",
    18: "self-signed",
    19: "untrusted",
    20: "untrusted",
    21: "untrusted",
    62: "mismatch",
    64: "mismatch",
}


class Unreached(OidcgateError):
    """No answer; ``stage`` says how far the call came, and ``reason`` what TLS did not like."""

    def __init__(self, stage: Stage, message: str, reason: Reason = "") -> None:
        super().__init__(message)
        self.stage = stage
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server showed: until when it is good (seconds since 1970), and for which names."""

    expires: float
    names: tuple[str, ...]


def translated(error: Exception, what: str, limit: float) -> Unreached:
    """What aiohttp raised, in our words: its own may quote what was received."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return broken_tls(error.certificate_error, what)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Unreached("name", f"{error.host} does not resolve")
    if isinstance(error, TimeoutError):
        return Unreached("timeout", f"{what} does not answer within {limit:g} s")
    if isinstance(error, aiohttp.ClientSSLError):
        return broken_tls(error.os_error, what)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Unreached("tcp", f"{what} takes no connection ({socket_reason(error.os_error)})")
    return Unreached("reply", f"{what} gives no proper HTTP answer ({type(error).__name__})")


def broken_tls(error: BaseException, what: str) -> Unreached:
    """Why TLS failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unreached("tls", f"{what}: {error.verify_message}", REASONS.get(error.verify_code, ""))
    said = getattr(error, "reason", None) or str(error)
    if "WRONG_VERSION" in said or "HTTP_REQUEST" in said or "RECORD_LAYER" in said:
        return Unreached("tls", f"{what} speaks no TLS", "plain")
    return Unreached("tls", f"{what}: {said[:200]}")


def socket_reason(error: OSError) -> str:
    """``Connection refused``, without asyncio's words around it; it joins the errors of several addresses in a text."""
    number = error.errno or int((re.search(r"Errno (\d+)", str(error)) or ["", "0"])[1])
    return os.strerror(number).lower() if number > 0 else str(error)[:200]


def certificate(der: bytes) -> Certificate:
    """What a certificate says that matters here."""
    parsed = x509.load_der_x509_certificate(der)
    names: list[str] = []
    with suppress(x509.ExtensionNotFound):
        shown = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names += shown.get_values_for_type(x509.DNSName)
        names += [str(address) for address in shown.get_values_for_type(x509.IPAddress)]
    return Certificate(parsed.not_valid_after_utc.timestamp(), tuple(names))
