"""
A login in the person's browser that comes back to a port of this machine.

Edge: aiohttp server on loopback.

- PKCE S256, state and nonce are fresh for each login; the code is worth nothing without the verifier, which stays here.
- Only an answer with the right state counts, and only the first. All else gets a page and changes nothing.
- The page is shown when the tokens are there and checked: it never says more than is true.

Sources: RFC 8252 §7.3, §8.3; RFC 7636; OIDC Core §3.1; RFC 9700 §2.1.
"""

import asyncio
import hmac
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from oidcgate.errors import AuthorizationError, LoginError, OidcgateError
from oidcgate.kubectl.account import CredentialError, audiences_in, in_order
from oidcgate.net.provider import Provider
from oidcgate.oidc.authorization import CallbackParams, authorization_url, check_issuer, parse_callback
from oidcgate.oidc.claims import Claims
from oidcgate.oidc.tokens import TokenSet

HOST: Final = "127.0.0.1"
PATH: Final = "/callback"
END_LIMIT = 2.0  # seconds for the last page to be sent

PageMaker = Callable[[str, str, int], web.Response]  # heading, sentence, status
Granted = tuple[TokenSet, Claims]

SIGNED_IN = ("You are signed in", "You can close this tab: kubectl goes on by itself.")
ONCE_MORE = ("This sign-in is finished", "You can close this tab.")
FOREIGN = (
    "This sign-in does not belong here",
    "It did not begin in the program that waits for one. Go on in the tab that it opened, or run the command again.",
)
NOTHING = ("There is nothing here", "This address only waits for the end of a sign-in.")
REFUSED = ("The sign-in was not completed", "The program that asked for it says why, and what to do.")


@dataclass(frozen=True, slots=True)
class Waiting:
    """How to wait: the port (0 = any), for how many seconds, and what is done with the address to open."""

    port: int
    limit: float
    show: Callable[[str], None]


class BrowserLogin:
    """One login."""

    def __init__(self, provider: Provider, scopes: frozenset[str], page: PageMaker) -> None:
        self._provider = provider
        self._scopes = scopes
        self._page = page
        self._state = secrets.token_urlsafe(32)
        self._nonce = secrets.token_urlsafe(32)
        self._verifier = secrets.token_urlsafe(64)
        self._authority = ""
        self._is_taken = False
        self._done: asyncio.Future[Granted] = asyncio.get_running_loop().create_future()

    async def run(self, waiting: Waiting) -> Granted:
        """
        Wait for the login.

        Raises:
            CredentialError: the port is taken, or nobody signed in in time.
            OidcgateError: the issuer refused, or its answer was refused.
        """
        metadata = await self._provider.metadata()
        silent = logging.Logger("oidcgate.kubectl", logging.CRITICAL)  # whatever comes in is answered by a page
        runner = web.ServerRunner(web.Server(self._answer, logger=silent, access_log=None), shutdown_timeout=END_LIMIT)
        await runner.setup()
        try:
            await self._listen(runner, waiting.port)
            url = authorization_url(
                metadata,
                client_id=self._provider.client_id,
                redirect_uri=self._redirect_uri,
                scopes=in_order(self._scopes),
                state=self._state,
                nonce=self._nonce,
                verifier=self._verifier,
            )
            waiting.show(url)
            return await asyncio.wait_for(self._done, waiting.limit)
        except TimeoutError:
            minutes = max(1, round(waiting.limit / 60))
            raise CredentialError(f"nobody signed in within {minutes} min; run the command again") from None
        finally:
            await runner.cleanup()

    @property
    def _redirect_uri(self) -> str:
        return f"http://{self._authority}{PATH}"

    async def _listen(self, runner: web.ServerRunner, port: int) -> None:
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as error:
            raise CredentialError(
                f"port {port} of this machine is taken; end the program that listens there, or sign in with --device"
            ) from error
        self._authority = f"{HOST}:{runner.addresses[0][1]}"

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        """Every request; a page whatever comes."""
        path, _, query = request.raw_path.partition("?")
        if request.headers.getall("Host", []) != [self._authority]:  # a name that was made to lead here
            shown = self._page(*NOTHING, 421)
        elif path != PATH or request.method != "GET":
            shown = self._page(*NOTHING, 404)
        else:
            shown = await self._callback(query.encode("utf-8", "surrogateescape"))
        shown.force_close()
        return shown

    async def _callback(self, query: bytes) -> web.Response:
        try:
            params = parse_callback(query)
        except LoginError:
            return self._page(*FOREIGN, 400)
        if not hmac.compare_digest(params.state, self._state):
            return self._page(*FOREIGN, 400)
        if self._is_taken:
            return self._page(*ONCE_MORE, 200)
        self._is_taken = True
        try:
            granted = await self._redeem(params)
        except OidcgateError as error:
            self._finish(error)
            return self._page(*REFUSED, 400)
        self._finish(granted)
        return self._page(*SIGNED_IN, 200)

    def _finish(self, outcome: Granted | OidcgateError) -> None:
        if self._done.done():  # the time was up
            return
        if isinstance(outcome, OidcgateError):
            self._done.set_exception(outcome)
        else:
            self._done.set_result(outcome)

    async def _redeem(self, params: CallbackParams) -> Granted:
        check_issuer(params, issuer=self._provider.issuer, metadata=await self._provider.metadata())
        if params.code is None:
            raise AuthorizationError(params.error or "", params.error_description)
        return await self._provider.redeem(
            params.code,
            redirect_uri=self._redirect_uri,
            verifier=self._verifier,
            nonce=self._nonce,
            audiences=audiences_in(self._scopes),
        )
