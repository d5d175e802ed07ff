"""
Getting a token: by the refresh token where there is one, else by a login.

Edge: asyncio.

- A new refresh token is stored before the token beside it is looked at: the one before it is dead already.
- A refresh token that is refused for good means a login; an issuer that does not answer means neither.
- A login asks for every cluster that was asked for before, since its refresh token replaces theirs. What it brings is
  then too wide for one cluster: each gets a token narrowed to it.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from oidcgate.errors import AuthorizationError, InvalidIdToken, ProviderUnreachable, TokenError
from oidcgate.kubectl.account import Account, in_order
from oidcgate.kubectl.browser import browser_command, has_browser, open_browser
from oidcgate.kubectl.cache import Cache
from oidcgate.kubectl.device import DeviceLogin
from oidcgate.kubectl.entry import Entry, Token
from oidcgate.kubectl.login import BrowserLogin, Granted, PageMaker, Waiting
from oidcgate.net.provider import TOTAL_TIMEOUT, Provider
from oidcgate.net.provider_calls import Calls
from oidcgate.oidc.claims import Claims
from oidcgate.oidc.metadata import is_loopback
from oidcgate.oidc.tokens import TokenSet

LEEWAY = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Ways:
    """
    How to sign in: on another device, or in a browser, which is opened by a command, by the system, or by hand.

    ``port`` is where the browser comes back to, 0 for any; ``limit`` is in seconds.
    """

    device: bool = False
    opens: bool = True
    command: str | None = None
    port: int = 0
    limit: float = 300.0


class SignIn:
    """
    Gets tokens for an account; the caller holds its lock.

    Args:
        page: makes a page for the browser of a heading, a sentence and a status.
        say: shows a sentence to the person.
    """

    def __init__(
        self,
        account: Account,
        cache: Cache,
        ways: Ways,
        *,
        page: PageMaker,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account = account
        self._cache = cache
        self._ways = ways
        self._page = page
        self._say = say
        self._clock = clock
        self._proxy = proxy_for(account.issuer)
        self._provider = Provider(
            issuer=account.issuer,
            client_id=account.client_id,
            client_secret=lambda: None,
            scopes=account.scopes,
            algorithms=account.algorithms,
            leeway=LEEWAY,
            max_token_life=account.max_token_life,
            endpoint_hosts=frozenset(account.endpoint_hosts),
            ca_file=account.ca_file,
            proxy=self._proxy,
            clock=clock,
            log=logging.Logger("oidcgate.kubectl", logging.CRITICAL),  # what matters is raised
        )

    async def token(self, entry: Entry | None) -> Token:
        """
        A token, given what is kept; it is kept in turn.

        Raises:
            OidcgateError: there is none.
        """
        try:
            if entry is not None and entry.refresh_token is not None and self._account.wanted <= entry.scopes:
                renewed = await self._renew_or_go_on(entry)
                if renewed is not None:
                    return renewed
            return await self._signed_in(self._before_login(entry))
        finally:
            await self._provider.close()

    async def revoke(self, refresh_token: str) -> bool:
        """Give a refresh token back; False when the issuer cannot take it, or does not answer."""
        try:
            metadata = await self._provider.metadata()
            await self._provider.revoke(refresh_token)
            return metadata.revocation_endpoint is not None
        except ProviderUnreachable:
            return False
        finally:
            await self._provider.close()

    async def _renew_or_go_on(self, entry: Entry) -> Token | None:
        """The renewed token; while the issuer is away, the one that has some seconds left."""
        try:
            return await self._renew(entry)
        except (ProviderUnreachable, TokenError):
            token = entry.tokens.get(self._account.slot)
            if token is not None and self._clock() < token.expires:
                return token
            raise

    async def _renew(self, entry: Entry) -> Token | None:
        """None when the refresh token is dead, or brings nothing that is for this audience alone."""
        wanted = self._account.wanted
        assert entry.refresh_token is not None
        try:
            scopes = None if wanted == entry.scopes else in_order(wanted)
            token_set = await self._provider.refresh_raw(entry.refresh_token, scopes)
        except TokenError as error:
            if not error.final:
                raise
            return None
        if token_set.refresh_token is not None:
            entry = replace(entry, refresh_token=token_set.refresh_token, stored=self._clock())
            self._cache.write(entry)
        try:
            claims = await self._provider.verify(token_set, previous=entry.claims, exactly=self._account.exactly)
        except InvalidIdToken:
            return None  # a login shows whether it was the issuer or the clock
        return self._keep(entry, token_set, claims)

    def _before_login(self, entry: Entry | None) -> Entry | None:
        """What a login has to go on with; without a refresh token there is nothing that it would replace."""
        return entry if entry is not None and entry.refresh_token is not None else None

    async def _signed_in(self, before: Entry | None) -> Token:
        wanted = self._account.wanted
        asked = wanted if before is None else wanted | before.scopes
        try:
            token_set, claims = await self._login(asked)
        except AuthorizationError as error:
            if error.error != "invalid_scope" or asked == wanted:
                raise
            self._say("The issuer no longer grants all clusters at once; once more for this one alone.")
            return await self._signed_in(None)
        if asked == wanted:
            self._check_audience(claims)
            return self._keep(self._entry(token_set, claims, asked), token_set, claims)
        entry = self._entry(token_set, claims, asked)
        self._cache.write(entry)
        narrowed = await self._renew(entry) if entry.refresh_token is not None else None
        if narrowed is None:
            self._say("The issuer narrows no token to one cluster; once more for this one alone.")
            return await self._signed_in(None)
        return narrowed

    def _entry(self, token_set: TokenSet, claims: Claims, asked: frozenset[str]) -> Entry:
        """What a login brought; the tokens of others of the same person are as good as before."""
        known = self._cache.read()
        is_same = known is not None and known.claims.subject == claims.subject
        tokens = dict(known.tokens) if known is not None and is_same else {}
        return Entry(claims, asked, tokens, token_set.refresh_token, self._clock())

    def _check_audience(self, claims: Claims) -> None:
        if frozenset(claims.audience) != self._account.exactly:
            expected, got = sorted(self._account.exactly), sorted(claims.audience)
            raise InvalidIdToken("aud", f"expected {expected}, got {got}"[:300])

    def _keep(self, entry: Entry, token_set: TokenSet, claims: Claims) -> Token:
        token, now = Token(token_set.id_token, claims.issued_at, claims.expires), self._clock()
        alive = {slot: each for slot, each in entry.tokens.items() if each.expires > now}
        self._cache.write(replace(entry, tokens={**alive, self._account.slot: token}, stored=now))
        return token

    async def _login(self, asked: frozenset[str]) -> Granted:
        if await self._is_elsewhere():
            calls = Calls(ca_file=self._account.ca_file, proxy=self._proxy, timeout=TOTAL_TIMEOUT)
            try:
                return await DeviceLogin(self._provider, asked, calls).run(self._say)
            finally:
                await calls.close()
        waiting = Waiting(self._ways.port, self._ways.limit, self._show)
        return await BrowserLogin(self._provider, asked, self._page).run(waiting)

    async def _is_elsewhere(self) -> bool:
        """Whether to sign in on another device: when asked to, or when there is no browser and the issuer can."""
        ways = self._ways
        if ways.device or not ways.opens or ways.command is not None or has_browser(os.environ):
            return ways.device
        return (await self._provider.metadata()).device_authorization_endpoint is not None

    def _show(self, url: str) -> None:
        loop = asyncio.get_running_loop()
        by_hand = f"Open this address in a browser of this machine to sign in: {url}"
        if not self._ways.opens or (self._ways.command is None and not has_browser(os.environ)):
            self._say(by_hand)
            return
        self._say("Sign in in the browser window that opens now.")

        def failed() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._say, by_hand)

        open_browser(browser_command(url, self._ways.command), failed)


def proxy_for(url: str) -> str | None:
    """The HTTP proxy that the environment names for an address; none for this machine's own."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)
