"""
A login on another device, for where there is no browser: a code is shown here, and typed in there.

Edge: aiohttp client; what is sent and read is made by pure functions.

- Nothing from the issuer reaches the terminal that is not plain printable text of a sane length.
- It is asked no faster than it wants; an issuer that does not answer is asked more slowly.
- Dex v2.45.1 sends the token set without a Content-Type, and Go calls it text/plain: that one answer is forgiven.

Sources: RFC 8628 §3; RFC 7636.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit

from oidcgate.errors import ProviderError, ProviderUnreachable, TokenError
from oidcgate.kubectl.account import CredentialError, audiences_in, in_order
from oidcgate.net.provider import Provider
from oidcgate.net.provider_calls import Calls
from oidcgate.oidc.authorization import challenge
from oidcgate.oidc.claims import Claims
from oidcgate.oidc.metadata import is_loopback
from oidcgate.oidc.strictjson import loads_object
from oidcgate.oidc.tokens import MAX_REPLY, TokenRequest, TokenSet, parse_token_reply

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER = 5.0  # seconds that slow_down adds (RFC 8628 §3.5)
SLOWEST = 60.0
LONGEST = 3600.0  # seconds that a code may live
DEFAULT_INTERVAL = 5.0  # RFC 8628 §3.2
_CODE = re.compile(r"[\x21-\x7e]{1,2048}")
_SHOWN = re.compile(r"[A-Za-z0-9._ -]{1,64}")
_URL = re.compile(r"https?://[\x21-\x7e]{1,2000}")

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What the issuer wants shown; ``expires_in`` and ``interval`` are seconds."""

    device_code: str = field(repr=False)
    user_code: str
    url: str
    complete_url: str | None
    expires_in: float
    interval: float

    @property
    def sentence(self) -> str:
        """For the person."""
        if self.complete_url is None:
            return f"To sign in, open {self.url} on any device and type in the code {self.user_code}"
        return f"To sign in, open {self.complete_url} on any device; the code there must be {self.user_code}"


def code_request(client_id: str, scopes: frozenset[str], verifier: str) -> TokenRequest:
    """Ask for a code (RFC 8628 §3.1)."""
    return _form(
        {
            "client_id": client_id,
            "scope": " ".join(in_order(scopes)),
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
        }
    )


def poll_request(client_id: str, device_code: str, verifier: str) -> TokenRequest:
    """Ask whether the person has signed in (RFC 8628 §3.4)."""
    return _form(
        {
            "grant_type": GRANT_TYPE,
            "client_id": client_id,
            "device_code": device_code,
            "code_verifier": verifier,
        }
    )


def _form(fields: dict[str, str]) -> TokenRequest:
    return TokenRequest({"Content-Type": "application/x-www-form-urlencoded"}, urlencode(fields).encode("ascii"))


def parse_code_reply(status: int, body: bytes) -> DeviceCode:
    """
    Read the answer (RFC 8628 §3.2).

    Raises:
        TokenError: the issuer refused.
        ProviderError: the answer is none.
    """
    if status != 200:
        parse_token_reply(status, "", body, need_id_token=False)
    try:
        reply = loads_object(body, max_bytes=MAX_REPLY)
        complete = reply.get("verification_uri_complete")
        return DeviceCode(
            device_code=_matching(_CODE, reply.get("device_code"), "device_code"),
            user_code=_matching(_SHOWN, reply.get("user_code"), "user_code"),
            url=_address(reply.get("verification_uri"), "verification_uri"),
            complete_url=None if complete is None else _address(complete, "verification_uri_complete"),
            expires_in=_seconds(reply.get("expires_in"), "expires_in", LONGEST),
            interval=_seconds(reply.get("interval", DEFAULT_INTERVAL), "interval", SLOWEST),
        )
    except ValueError as error:
        raise ProviderError(f"device code: {error}") from error


def _matching(shape: re.Pattern[str], value: object, name: str) -> str:
    if not isinstance(value, str) or not shape.fullmatch(value):
        raise ValueError(f"expected {name} to be a short text without control characters")
    return value


def _address(value: object, name: str) -> str:
    url = _matching(_URL, value, name)
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"expected {name} to be https")
    return url


def _seconds(value: object, name: str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"expected {name} to be a number of seconds")
    return float(min(max(value, 1), most))


class DeviceLogin:
    """
    One login.

    Args:
        ca_file, proxy: as of the provider.
    """

    def __init__(
        self,
        provider: Provider,
        scopes: frozenset[str],
        calls: Calls,
        *,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._scopes = scopes
        self._calls = calls
        self._sleep = sleep
        self._clock = clock
        self._verifier = secrets.token_urlsafe(64)

    async def run(self, show: Callable[[str], None]) -> tuple[TokenSet, Claims]:
        """
        Show the code and wait for the login.

        Raises:
            CredentialError: nobody signed in in time, or somebody refused.
            OidcgateError: the issuer has no device flow that works, or its answer was refused.
        """
        metadata = await self._provider.metadata()
        if metadata.device_authorization_endpoint is None:
            raise CredentialError(f"{self._provider.issuer} has no device flow; sign in with --no-browser")
        request = code_request(self._provider.client_id, self._scopes, self._verifier)
        reply = await self._calls.call(metadata.device_authorization_endpoint, what="device code", request=request)
        code = parse_code_reply(reply.status, reply.body)
        show(code.sentence)
        token_set = await self._poll(metadata.token_endpoint, code)
        return token_set, await self._provider.verify(token_set, audiences=audiences_in(self._scopes))

    async def _poll(self, endpoint: str, code: DeviceCode) -> TokenSet:
        request = poll_request(self._provider.client_id, code.device_code, self._verifier)
        interval, until = code.interval, self._clock() + code.expires_in
        while self._clock() < until:
            await self._sleep(interval)
            try:
                reply = await self._calls.call(endpoint, what="token endpoint", request=request)
                kind = "application/json" if reply.content_type.startswith("text/plain") else reply.content_type
                return parse_token_reply(reply.status, kind, reply.body, need_id_token=True)
            except ProviderUnreachable:
                interval = min(interval * 2, SLOWEST)
            except TokenError as error:
                interval += slower(error)
        raise CredentialError(EXPIRED)


EXPIRED = "nobody signed in while the code was good; run the command again"


def slower(error: TokenError) -> float:
    """
    By how many seconds to ask more slowly after this answer (RFC 8628 §3.5).

    Raises:
        CredentialError: it was the last answer.
        TokenError: it is none that the flow knows.
    """
    match error.error:
        case "authorization_pending":
            return 0.0
        case "slow_down":
            return SLOWER
        case "expired_token":
            raise CredentialError(EXPIRED) from error
        case "access_denied":
            raise CredentialError("the sign-in was declined on the other device; run the command again") from error
    if error.status_seen == 429 or error.status_seen >= 500:
        return SLOWER
    raise error
