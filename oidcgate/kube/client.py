"""
Calls to an API server, each with a credential of its own.

Edge: aiohttp client. Few and small: never on the data path. No redirects, no environment, replies bounded; the
credential is an argument of each call and is in no error.
"""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
from multidict import CIMultiDict

from oidcgate.config.model import Kubernetes
from oidcgate.errors import OidcgateError

TOTAL_TIMEOUT: Final = 10.0  # seconds for one call
MOST_BYTES: Final = 4 * 1024 * 1024  # of a reply


class ClusterUnreachable(OidcgateError):
    """The API server does not answer, or not as one; ``hop`` says where it failed: tcp, tls, timeout or reply."""

    status = 503
    public = "The cluster's API server does not answer right now."

    def __init__(self, message: str, hop: str) -> None:
        super().__init__(message)
        self.hop = hop


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply: its status, its JSON object, and what time it was there (seconds since the epoch)."""

    status: int
    body: dict[str, Any]
    date: float | None = None

    @property
    def message(self) -> str:
        """What a Status object says; empty for anything else."""
        return str(self.body.get("message", "")) if self.body.get("kind") == "Status" else ""


class ApiServer:
    """One API server. Opens nothing before the first call."""

    def __init__(self, kubernetes: Kubernetes, *, timeout: float = TOTAL_TIMEOUT) -> None:
        self._api = kubernetes.api.rstrip("/")
        self._ca_file = kubernetes.ca_file
        self._server_name = kubernetes.server_name
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<ApiServer {self._api}>"

    async def get(self, path: str, *, headers: Mapping[str, str]) -> Answer:
        """
        A GET.

        Raises:
            ClusterUnreachable: no usable reply.
        """
        return await self._call("GET", path, headers, None)

    async def post(self, path: str, body: Mapping[str, Any], *, headers: Mapping[str, str]) -> Answer:
        """
        A POST of a JSON object.

        Raises:
            ClusterUnreachable: no usable reply.
        """
        return await self._call("POST", path, headers, body)

    async def _call(self, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, Any] | None) -> Answer:
        try:
            try:
                return await self._once(method, path, headers, body)
            except aiohttp.ServerDisconnectedError:  # it closed the idle connection at this very moment
                return await self._once(method, path, headers, body)
        except aiohttp.ClientConnectorCertificateError as error:
            raise ClusterUnreachable(f"{self._api}: {error.certificate_error}", "tls") from None
        except aiohttp.ClientSSLError as error:
            raise ClusterUnreachable(f"{self._api}: {error}", "tls") from None
        except TimeoutError:
            raise ClusterUnreachable(f"{self._api}: no reply within {self._timeout.total:g} s", "timeout") from None
        except aiohttp.ClientConnectorError as error:
            raise ClusterUnreachable(f"{self._api}: {error.os_error}", "tcp") from None
        except aiohttp.ClientError as error:
            raise ClusterUnreachable(f"{self._api}: {type(error).__name__}", "reply") from None

    async def _once(self, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, Any] | None) -> Answer:
        """One try; a review changes nothing, so that it may be asked for twice."""
        sent = CIMultiDict(headers)
        sent.setdefault("Accept", "application/json")
        async with self._open().request(
            method,
            self._api + path,
            json=body,
            headers=sent,
            allow_redirects=False,
            server_hostname=self._server_name,
        ) as reply:
            raw = bytearray()
            async for chunk in reply.content.iter_any():
                raw += chunk
                if len(raw) > MOST_BYTES:
                    raise ClusterUnreachable(f"{self._api}: the reply is too large", "reply")
            return Answer(reply.status, _object(bytes(raw), self._api), _date(reply.headers.get("Date")))

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            try:
                context = ssl.create_default_context(cafile=self._ca_file)
            except OSError as error:  # ssl.SSLError is one
                raise ClusterUnreachable(f"{self._ca_file} is no readable CA bundle: {error}", "tls") from None
            connector = aiohttp.TCPConnector(ssl=context, limit=16)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()


def _object(raw: bytes, api: str) -> dict[str, Any]:
    try:
        found = json.loads(raw) if raw else {}
    except ValueError:
        raise ClusterUnreachable(f"{api}: the reply is not JSON; is this an API server?", "reply") from None
    if not isinstance(found, dict):
        raise ClusterUnreachable(f"{api}: the reply is no JSON object; is this an API server?", "reply")
    return found


def _date(header: str | None) -> float | None:
    """A Date header (RFC 9110 §6.6.1) in seconds since the epoch; None when it is none."""
    try:
        return None if header is None else parsedate_to_datetime(header).timestamp()
    except ValueError:
        return None
