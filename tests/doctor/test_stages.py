"""What aiohttp and OpenSSL raise, as stages."""

import errno
import ssl
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from oidcgate.doctor.stages import Unreached, broken_tls, socket_reason, translated

KEY: Any = SimpleNamespace(host="h", port=1, ssl=True, is_ssl=True)


def verification(code: int) -> ssl.SSLCertVerificationError:
    """As OpenSSL raises it."""
    error = ssl.SSLCertVerificationError("no")
    error.verify_code, error.verify_message = code, "certificate is odd"
    return error


def tls_error(reason: str) -> ssl.SSLError:
    """As OpenSSL raises it."""
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "stage", "reason"),
    [
        pytest.param(aiohttp.ClientConnectorCertificateError(KEY, verification(10)), "tls", "expired", id="expired"),
        pytest.param(aiohttp.ClientConnectorCertificateError(KEY, verification(9)), "tls", "early", id="early"),
        pytest.param(
            aiohttp.ClientConnectorCertificateError(KEY, verification(20)), "tls", "untrusted", id="untrusted"
        ),
        pytest.param(aiohttp.ClientConnectorCertificateError(KEY, verification(18)), "tls", "self-signed", id="own"),
        pytest.param(aiohttp.ClientConnectorCertificateError(KEY, verification(62)), "tls", "mismatch", id="mismatch"),
        pytest.param(aiohttp.ClientConnectorCertificateError(KEY, verification(99)), "tls", "", id="odd"),
        pytest.param(
            aiohttp.ClientConnectorSSLError(KEY, tls_error("WRONG_VERSION_NUMBER")), "tls", "plain", id="plain-http"
        ),
        pytest.param(aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "no name")), "name", "", id="name"),
        pytest.param(aiohttp.ConnectionTimeoutError(), "timeout", "", id="timeout"),
        pytest.param(aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, "x")), "tcp", "", id="refused"),
        pytest.param(aiohttp.ServerDisconnectedError("a secret"), "reply", "", id="disconnected"),
    ],
)
def test_translated(error: Exception, stage: str, reason: str) -> None:
    """The stage and the reason; no text of theirs that may quote a reply."""
    found = translated(error, "https://h", 5)
    assert (found.stage, found.reason) == (stage, reason)
    assert "secret" not in str(found)


def test_other_tls_trouble() -> None:
    """OpenSSL's own word."""
    found = broken_tls(tls_error("NO_SHARED_CIPHER"), "h:1")
    assert isinstance(found, Unreached)
    assert str(found) == "h:1: NO_SHARED_CIPHER"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(OSError(errno.EHOSTUNREACH, "x"), "no route to host", id="one"),
        pytest.param(
            OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] …"),
            "connection refused",
            id="several",
        ),
        pytest.param(OSError("odd"), "odd", id="none"),
    ],
)
def test_socket_reason(error: OSError, text: str) -> None:
    """The system's word, also where asyncio joined several."""
    assert socket_reason(error) == text
