"""
Single calls to a provider: one request, one bounded answer, and errors that are ours.

Edge: aiohttp client.

- No redirect is followed, no cookie kept, nothing taken from the environment.
- One connection carries one call, so that no answer can ever be taken for another person's.
- Every call ends: a time limit that includes connecting, and a size limit counted as the bytes come in.
- No body and no header reaches an error message.

Sources: RFC 6749 §10.9; RFC 9700 §4.11; OIDC Core §16.17.
"""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import aiohttp

from oidcgate.errors import ConfigError, Problem, ProviderError, ProviderUnreachable
from oidcgate.oidc.tokens import TokenRequest

MAX_BODY = 256 * 1024  # bytes
_CHUNK = 16 * 1024
# Identity, so that the size limit is on what the provider sends and nothing can unfold in memory.
_FIXED_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "oidcgate"}

OnCall = Callable[[str, float, int], None]


class Reply(NamedTuple):
    """An answer, whole: ``content_type`` is the header's value or empty."""

    status: int
    content_type: str
    body: bytes


@contextmanager
def map_errors(what: str) -> Iterator[None]:
    """Turn what aiohttp and the system raise into ProviderUnreachable; ``what`` names the call."""
    try:
        yield
    except OSError as error:  # no connection, a broken one, a timeout
        raise ProviderUnreachable(f"{what}: {str(error)[:200] or type(error).__name__}") from error
    except aiohttp.ClientError as error:
        # Its text, and the chain with it, may quote what was received: a token, perhaps.
        raise ProviderUnreachable(f"{what}: no proper HTTP answer ({type(error).__name__})") from None


class Calls:
    """
    The way to one provider. ``on_call`` is told of each call: its name, its seconds, and its status, 0 = no answer.

    Args: ``ca_file`` the only authorities to believe, None for the system's; ``proxy`` an HTTP proxy's URL;
    ``timeout`` seconds for one call.
    Raises: ConfigError when ``ca_file`` cannot be used. Opens nothing before the first call.
    """

    def __init__(self, *, ca_file: str | None, proxy: str | None, timeout: float) -> None:
        try:
            self._tls = ssl.create_default_context(cafile=ca_file)
        except OSError as error:  # SSLError is one
            raise ConfigError([Problem("provider.ca_file", f"{ca_file}: {error}")]) from error
        self._proxy = proxy
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None
        self.on_call: OnCall = lambda _what, _seconds, _status: None
        self._closed = False

    async def call(self, url: str, *, what: str, request: TokenRequest | None = None) -> Reply:
        """
        GET ``url``, or POST ``request`` to it.

        Raises: ProviderUnreachable without a whole answer in time; ProviderError for one above 256 KiB.
        Not checked: the status.
        """
        began, status = time.monotonic(), 0
        try:
            reply = await self._call(url, what, request)
            status = reply.status
        finally:
            self.on_call(what, time.monotonic() - began, status)
        return reply

    async def _call(self, url: str, what: str, request: TokenRequest | None) -> Reply:
        with map_errors(what):
            async with self._opened().request(
                "GET" if request is None else "POST",
                url,
                data=None if request is None else request.body,
                headers=_FIXED_HEADERS | (request.headers if request else {}),
                allow_redirects=False,
                proxy=self._proxy,
            ) as response:
                body = await _bounded(response.content, what)
                return Reply(response.status, response.headers.get("Content-Type", ""), body)

    async def close(self) -> None:
        """Close; later calls raise ProviderUnreachable."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ProviderUnreachable("the provider's client is closed")
        if self._session is None:  # made here and not before, since it belongs to the running loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                trust_env=False,
            )
        return self._session


async def _bounded(content: aiohttp.StreamReader, what: str) -> bytes:
    body = bytearray()
    async for chunk in content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_BODY:
            raise ProviderError(f"{what}: an answer of more than {MAX_BODY} bytes")
    return bytes(body)
