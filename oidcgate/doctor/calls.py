"""
Single calls, and at which stage they end: name, tcp, tls, timeout or reply.

Edge: asyncio and the aiohttp client. Every call is short, follows no redirect, keeps no cookie and takes nothing from
the environment. Where a browser's way is gone, a name of this machine is not looked up (RFC 6761 §6.3).
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from multidict import CIMultiDict, CIMultiDictProxy

from oidcgate.config.addresses import is_loopback, parse_origin
from oidcgate.doctor.stages import Certificate, Unreached, broken_tls, certificate, socket_reason, translated

LIMIT: Final = 5.0  # seconds for one call
MOST_BYTES: Final = 256 * 1024  # of a reply


@dataclass(frozen=True, slots=True)
class Way:
    """How an address is reached: ``path`` a Unix socket's, ``proxy`` an outgoing proxy's URL, or ``as_browser``."""

    ca_file: str | None = None
    server_name: str | None = None
    verify: bool = True
    proxy: str | None = None
    path: str = ""
    as_browser: bool = False

    def host(self, name: str) -> str:
        """What to look up: to browsers every name of this machine is localhost."""
        is_name = not name[:1].isdigit() and ":" not in name
        return "localhost" if self.as_browser and is_name and is_loopback(name) else name

    def tls(self) -> ssl.SSLContext:
        """How certificates are verified."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


STRAIGHT: Final = Way()
BROWSER: Final = Way(as_browser=True)


@dataclass(frozen=True, slots=True)
class Seen:
    """A reply; ``ahead`` is how many seconds its Date is ahead of our clock."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    ahead: float | None = None

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


class Caller:
    """Makes the calls, by a clock of seconds since 1970."""

    def __init__(self, *, clock: Callable[[], float] = time.time, limit: float = LIMIT) -> None:
        self.clock = clock
        self._limit = limit

    async def resolve(self, host: str, port: int, way: Way = STRAIGHT) -> list[str]:
        """
        The addresses of a host.

        Raises:
            Unreached: it has none.
        """
        try:
            async with asyncio.timeout(self._limit):
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(way.host(host), port, type=socket.SOCK_STREAM)
        except OSError as error:  # a timeout is one
            raise Unreached("name", f"{host} does not resolve ({error.strerror or 'no answer'})") from None
        return list(dict.fromkeys(str(each[4][0]) for each in found))

    async def reach(self, url: str, way: Way = STRAIGHT) -> Certificate | None:
        """
        Connect to an address, with TLS where it is https: the certificate, if there is one.

        Raises:
            Unreached: it ends before.
        """
        if way.path:
            await self._dial(asyncio.open_unix_connection(way.path), f"unix:{way.path}")
            return None
        origin = parse_origin(url)
        host = origin.host.strip("[]")
        await self.resolve(host, origin.port, way)
        options: dict[str, Any] = {}
        if origin.scheme == "https":
            options = {"ssl": way.tls(), "server_hostname": way.server_name or host}
        return await self._dial(asyncio.open_connection(way.host(host), origin.port, **options), origin.authority)

    async def _dial(self, opening: Any, what: str) -> Certificate | None:
        try:
            async with asyncio.timeout(self._limit):
                _, writer = await opening
        except TimeoutError:
            raise Unreached("timeout", f"{what} does not answer within {self._limit:g} s") from None
        except ssl.SSLError as error:
            raise broken_tls(error, what) from None
        except OSError as error:
            raise Unreached("tcp", f"{what} takes no connection ({socket_reason(error)})") from None
        try:
            shown = writer.get_extra_info("ssl_object")
            return None if shown is None else certificate(shown.getpeercert(binary_form=True))
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def call(
        self,
        url: str,
        way: Way = STRAIGHT,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Seen:
        """
        One request and its reply.

        Raises:
            Unreached: none comes.
        """
        timeout = aiohttp.ClientTimeout(total=self._limit)
        options: dict[str, Any] = {"proxy": way.proxy} if way.proxy else {}
        if url.startswith("https:"):
            options["server_hostname"] = way.server_name or parse_origin("/".join(url.split("/")[:3])).host.strip("[]")
        sent = {"User-Agent": "oidcgate-doctor", "Accept-Encoding": "identity", **(headers or {})}
        try:
            async with (
                aiohttp.ClientSession(
                    connector=_connector(way), timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
                ) as session,
                session.request(method, url, headers=sent, data=data, allow_redirects=False, **options) as reply,
            ):
                at = self.clock()
                body = b""
                while len(body) < MOST_BYTES and (more := await reply.content.read(MOST_BYTES - len(body))):
                    body += more
                return Seen(reply.status, CIMultiDictProxy(CIMultiDict(reply.headers)), body, _ahead(reply, at))
        except (aiohttp.ClientError, OSError) as error:
            raise translated(error, "/".join(url.split("/")[:3]), self._limit) from None


class _Names(ThreadedResolver):
    """Looks up names, some of them as others."""

    def __init__(self, way: Way) -> None:
        super().__init__()
        self._way = way

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return await super().resolve(self._way.host(host), port, family)


def _connector(way: Way) -> aiohttp.BaseConnector:
    if way.path:
        return aiohttp.UnixConnector(way.path, force_close=True)
    resolver: AbstractResolver = _Names(way)
    return aiohttp.TCPConnector(ssl=way.tls(), resolver=resolver, force_close=True)


def _ahead(reply: aiohttp.ClientResponse, at: float) -> float | None:
    try:
        return parsedate_to_datetime(reply.headers["Date"]).timestamp() - at
    except (KeyError, ValueError):
        return None
