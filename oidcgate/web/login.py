"""
The way in: ``/start`` sends the browser to the provider, ``/callback`` takes it where it was going.

Edge: aiohttp responses. Rules of this file:
- The callback's checks stand in the order of RP-03: what is cheap and local first, and state before anything that
  costs a call; a wrong state never causes a token request.
- Nobody clicks anything on the way in; whoever comes late, twice, or to the wrong place finds one button.
"""

import logging
from urllib.parse import quote, unquote

from aiohttp import web
from aiohttp_session import new_session

from oidcgate.errors import (
    LoginError,
    ProviderError,
    ProviderUnreachable,
    StoreUnavailable,
    TokenError,
)
from oidcgate.net.provider import Provider
from oidcgate.oidc.authorization import CallbackParams, authorization_url, check_issuer, known_error, parse_callback
from oidcgate.oidc.idtoken import Claims
from oidcgate.oidc.tokens import TokenSet
from oidcgate.policy import admits
from oidcgate.returnto import location, return_to, safe_fragment
from oidcgate.session.attempt import Attempt
from oidcgate.web import texts
from oidcgate.web.answers import RETRY_AFTER, note
from oidcgate.web.attempts import Attempts
from oidcgate.web.facts import Inbound
from oidcgate.web.grants import Grants
from oidcgate.web.pages import Action, Page, redirect, start_page
from oidcgate.web.providers import Providers
from oidcgate.web.sessions import Sessions
from oidcgate.web.site import SiteRuntime

log = logging.getLogger("oidcgate.login")

OPERATORS_FAULT = frozenset({"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"})


def query_values(target: str, name: str) -> list[str]:
    """The values of a query parameter, decoded exactly once; those that do not decode are left out."""
    values = []
    for pair in target.partition("?")[2].split("&"):
        key, _, value = pair.partition("=")
        if key == name:
            try:
                values.append(unquote(value, errors="strict"))
            except UnicodeDecodeError:
                continue
    return values


def single(target: str, name: str) -> str | None:
    """The value of a parameter that is there exactly once."""
    values = query_values(target, name)
    return values[0] if len(values) == 1 else None


class LoginPages:
    """``/start`` and ``/callback``."""

    def __init__(
        self, sessions: Sessions, grants: Grants, providers: Providers, attempts: Attempts, *, prefix: str
    ) -> None:
        self._sessions = sessions
        self._grants = grants
        self._providers = providers
        self._attempts = attempts
        self._prefix = prefix

    # /start

    async def start(self, inbound: Inbound, request_id: str, client: str) -> web.Response:
        """Begin a login: first a tiny page that fetches the fragment, then the redirect to the provider."""
        site, target = inbound.facts.site, inbound.target
        goal = self._goal(site, single(target, "rd") or "/")
        fragment = single(target, "f")
        if inbound.live is not None:
            return redirect(location(site.origin, goal, safe_fragment(fragment or "")), status=303)
        if fragment is None and not query_values(target, "f"):
            return start_page(f"{self._prefix}/start?rd={quote(goal, safe='')}&f=")
        if self._attempts.loops(site, inbound.facts.head.cookie):
            return self._loop(site, goal, request_id)
        if self._attempts.is_too_many(client):
            return Page("Too many sign-ins", "Too many sign-ins were begun from your address; wait a minute.").response(
                429, headers={"Retry-After": "60"}
            )
        return await self._to_provider(inbound, goal, safe_fragment(fragment or ""))

    def _goal(self, site: SiteRuntime, text: str) -> str:
        """Where the login leads back to; never into the login itself."""
        path = return_to(text, origin=site.origin)
        name = path.partition("?")[0].removeprefix(f"{self._prefix}/")
        return "/" if name in ("start", "sign_out", "callback") or name.startswith("callback/") else path

    async def _to_provider(self, inbound: Inbound, goal: str, fragment: str) -> web.Response:
        site = inbound.facts.site
        provider = self._provider(site.provider_id)
        metadata = await provider.metadata()
        response = redirect("")
        attempt = self._attempts.begin(
            site, inbound.facts.head.cookie, target=goal, fragment=fragment, response=response
        )
        response.headers["Location"] = authorization_url(
            metadata,
            client_id=provider.client_id,
            redirect_uri=self.redirect_uri(site),
            scopes=provider.scopes,
            state=attempt.state,
            nonce=attempt.nonce,
            verifier=attempt.verifier,
        )
        return response

    def _provider(self, provider_id: str) -> Provider:
        provider = self._providers.by_id(provider_id)
        assert provider is not None
        return provider

    def redirect_uri(self, site: SiteRuntime) -> str:
        """From the configuration, never from a header (RP-06)."""
        return site.origin + self._prefix + "/callback" + (f"/{site.provider_id}" if site.provider_id else "")

    def _loop(self, site: SiteRuntime, goal: str, request_id: str) -> web.Response:
        log.warning("a browser signs in again and again without keeping its session")
        response = self._page(texts.LOOP, 400, goal, request_id)
        self._attempts.forget_finished(site, response)
        return response

    # /callback

    async def callback(self, inbound: Inbound, provider_id: str, request_id: str) -> web.Response:
        """End a login (RP-03)."""
        site, cookies = inbound.facts.site, inbound.facts.head.cookie
        try:
            params = parse_callback(inbound.target.partition("?")[2].encode("ascii"))
        except LoginError as error:
            log.info("callback refused: %s", error)
            return self._stray(inbound, request_id)
        attempt = self._attempts.find(site, cookies, params.state)
        if attempt is None or attempt.provider != provider_id or provider_id != site.provider_id:
            return self._stray(inbound, request_id)
        response = await self._complete(inbound, attempt, params, request_id)
        self._attempts.expire(site, attempt, response)
        return response

    async def _complete(
        self, inbound: Inbound, attempt: Attempt, params: CallbackParams, request_id: str
    ) -> web.Response:
        """The callback belongs to this browser's own attempt."""
        site = inbound.facts.site
        used_before = not await self._attempts.use(attempt)
        if inbound.live is not None:
            return redirect(location(site.origin, attempt.target, attempt.fragment), status=303)
        if used_before or attempt.is_late(inbound.began):
            return self._page(texts.LATE, 400, attempt.target, request_id)
        provider = self._provider(site.provider_id)
        try:
            check_issuer(params, issuer=provider.issuer, metadata=await provider.metadata())
            if params.error is not None or params.code is None:
                return self._provider_says_no(params, attempt.target, request_id)
            tokens, claims = await provider.redeem(
                params.code,
                redirect_uri=self.redirect_uri(site),
                verifier=attempt.verifier,
                nonce=attempt.nonce,
            )
        except TokenError as error:
            log.warning("the code was not redeemed: %s", error)
            if error.status_seen >= 500:  # Dex says so, too, of a code that has run out: to begin anew helps both
                return self._outage(texts.PROVIDER_DOWN, attempt, request_id)
            status = 502 if error.error in OPERATORS_FAULT else 400
            return self._page(texts.LATE if status == 400 else texts.TOKEN_REFUSED, status, attempt.target, request_id)
        except ProviderUnreachable as error:
            log.warning("the provider did not answer during a login: %s", error)
            return self._outage(texts.PROVIDER_DOWN, attempt, request_id)
        except (LoginError, ProviderError) as error:
            log.warning("a login was refused (request %s): %s", request_id, error)
            return self._page(texts.TOKEN_REFUSED, error.status, attempt.target, request_id)
        try:
            return await self._sign_in(inbound, attempt, tokens, claims, request_id)
        except StoreUnavailable as error:
            log.warning("the store did not keep a new session: %s", error)
            return self._outage(texts.STORE_DOWN, attempt, request_id)

    async def _sign_in(
        self, inbound: Inbound, attempt: Attempt, tokens: TokenSet, claims: Claims, request_id: str
    ) -> web.Response:
        site, provider = inbound.facts.site, self._provider(attempt.provider)
        if not admits(site.config.access, claims):
            log.info("somebody the provider knows is not admitted to %s", site.authority)
            await self._grants.adopt_tokens(tokens, claims, issuer=provider.issuer, client_id=provider.client_id)
            return self._not_admitted(claims, attempt.target, request_id)
        agent = next((v for n, v in inbound.request.raw_headers if n.lower() == b"user-agent"), b"")
        live = await self._sessions.create(
            tokens,
            claims,
            issuer=provider.issuer,
            client_id=provider.client_id,
            site=site.origin,
            address=inbound.downstream.address,
            agent=agent.decode("ascii", "replace"),
        )
        session = await new_session(inbound.request)  # type: ignore[arg-type]  # needs no more than a mapping
        session.set_new_identity(live.handle)
        session["subject"] = claims.subject
        response = redirect(location(site.origin, attempt.target, attempt.fragment), status=303)
        self._attempts.finish(site, inbound.facts.head.cookie, response)
        return response

    # What can be in the way.

    def _stray(self, inbound: Inbound, request_id: str) -> web.Response:
        """A callback that belongs to no attempt of this browser: restart kindly, never by itself."""
        site = inbound.facts.site
        if inbound.live is not None:
            return redirect(site.origin + "/", status=303)
        known = self._attempts.has_any(site, inbound.facts.head.cookie)
        return self._page(texts.LATE if known else texts.NO_COOKIE, 400, "/", request_id)

    def _page(self, text: tuple[str, str], status: int, goal: str, request_id: str) -> web.Response:
        again = Action(texts.SIGN_IN_AGAIN, f"{self._prefix}/start?rd={quote(goal, safe='')}")
        return Page(*text, actions=[again], note=note(request_id)).response(status)

    def _provider_says_no(self, params: CallbackParams, goal: str, request_id: str) -> web.Response:
        error = params.error or ""
        log.warning("the provider refused an authorization: %s (%s)", error[:64], params.error_description)
        heading, sentence = texts.PROVIDER_SAYS_NO
        hint = texts.INVALID_SCOPE_HINT if error == "invalid_scope" else ""
        return self._page((heading, sentence + known_error(error) + hint), 400, goal, request_id)

    def _outage(self, text: tuple[str, str], attempt: Attempt, request_id: str) -> web.Response:
        """The code may be lost: the page begins anew by itself, when the provider or the store is back."""
        again = f"{self._prefix}/start?rd={quote(attempt.target, safe='')}&f={quote(attempt.fragment, safe='')}"
        page = Page(
            *text,
            actions=[Action(texts.SIGN_IN_AGAIN, again)],
            note=note(request_id),
            refresh=RETRY_AFTER,
            refresh_url=again,
        )
        return page.response(503, headers={"Retry-After": str(RETRY_AFTER)})

    def _not_admitted(self, claims: Claims, goal: str, request_id: str) -> web.Response:
        facts = [("Signed in as", claims.email or claims.subject)]
        if claims.groups:
            facts.append(("Groups", ", ".join(claims.groups)))
        again = Action(texts.SOMEBODY_ELSE, f"{self._prefix}/start?rd={quote(goal, safe='')}")
        return Page(*texts.DENIED, actions=[again], facts=facts, note=note(request_id)).response(403)
