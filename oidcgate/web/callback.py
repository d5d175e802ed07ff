"""
The way in, back from the provider: ``/callback`` ends a login, and ``/ticket`` takes one over on another host.

Edge: aiohttp responses. Rules of this file:
- The callback's checks stand in this order: what is cheap and local first, and state before anything that
  costs a call; a wrong state never causes a token request.
- A ticket is used up before it is looked at.
"""

import logging
from urllib.parse import quote

from aiohttp import web
from aiohttp_session import new_session

from oidcgate.errors import (
    AudienceRefused,
    LoginError,
    NeedsNarrowLogin,
    ProviderError,
    ProviderUnreachable,
    StoreUnavailable,
    TokenError,
)
from oidcgate.oidc.authorization import CallbackParams, check_issuer, known_error, parse_callback
from oidcgate.oidc.idtoken import Claims
from oidcgate.oidc.tokens import TokenSet
from oidcgate.policy import admits
from oidcgate.returnto import location
from oidcgate.session.attempt import Attempt
from oidcgate.web import texts
from oidcgate.web.answers import RETRY_AFTER, known_of
from oidcgate.web.facts import Inbound
from oidcgate.web.live import Live
from oidcgate.web.login import LoginPages, LoginParts, alone, single
from oidcgate.web.pages import Action, Page, redirect
from oidcgate.web.site import SiteRuntime

log = logging.getLogger("oidcgate.login")

OPERATORS_FAULT = frozenset({"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"})


class CallbackPages:
    """``/callback`` and ``/ticket``."""

    def __init__(self, login: LoginPages, parts: LoginParts) -> None:
        self._login = login
        self._sessions = parts.sessions
        self._grants = parts.grants
        self._providers = parts.providers
        self._attempts = parts.attempts
        self._handoffs = parts.handoffs
        self._destinations = parts.destinations
        self._prefix = parts.prefix
        self._audit = parts.audit
        self._metrics = parts.metrics

    async def callback(self, inbound: Inbound, provider_id: str, request_id: str) -> web.Response:
        """End a login."""
        table, cookies = self._destinations.table, inbound.facts.head.cookie
        root = table.roots.get(provider_id)
        if inbound.facts.site is not table.login or root is None:
            return self._stray(inbound)
        try:
            params = parse_callback(inbound.target.partition("?")[2].encode("ascii"))
        except LoginError as error:
            log.info("callback refused: %s", error)
            return self._stray(inbound)
        attempt = self._attempts.find(root, cookies, params.state)
        if attempt is None or attempt.provider != provider_id:
            return self._stray(inbound)
        try:
            response = await self._complete(inbound, root, attempt, params, request_id)
        except (ProviderError, StoreUnavailable):
            self._metrics.login(root, "callback", "unavailable")
            raise
        self._attempts.expire(root, attempt, response)
        return response

    async def _complete(
        self, inbound: Inbound, root: SiteRuntime, attempt: Attempt, params: CallbackParams, request_id: str
    ) -> web.Response:
        """The callback belongs to this browser's own attempt."""
        used_before = not await self._attempts.use(attempt)
        if inbound.live is not None and not attempt.wish and not attempt.only:
            return self._onward(inbound, attempt)
        if used_before or attempt.is_late(inbound.began):
            self._tell_refusal(inbound, root, "the callback was used before, or came late")
            return self._page(texts.LATE, 400, self._again(attempt))
        try:
            tokens, claims = await self._redeem(root, attempt, params)
        except AuthorizationRefused:
            self._tell_refusal(inbound, root, f"the provider refused: {(params.error or '')[:64]}")
            return self._provider_says_no(params, self._again(attempt))
        except TokenError as error:
            log.warning("the code was not redeemed: %s", error)
            if error.status_seen >= 500:  # Dex says so, too, of a code that has run out: to begin anew helps both
                return self._outage(texts.PROVIDER_DOWN, attempt)
            self._tell_refusal(inbound, root, str(error))
            status = 502 if error.error in OPERATORS_FAULT else 400
            return self._page(texts.LATE if status == 400 else texts.TOKEN_REFUSED, status, self._again(attempt))
        except ProviderUnreachable as error:
            log.warning("the provider did not answer during a login: %s", error)
            return self._outage(texts.PROVIDER_DOWN, attempt)
        except (LoginError, ProviderError) as error:
            log.warning("a login was refused (request %s): %s", request_id, error)
            self._tell_refusal(inbound, root, str(error))
            return self._page(texts.TOKEN_REFUSED, error.status, self._again(attempt))
        return await self._sign_in_or_wait(inbound, root, attempt, tokens, claims, request_id)

    async def _redeem(self, root: SiteRuntime, attempt: Attempt, params: CallbackParams) -> tuple[TokenSet, Claims]:
        provider = self._login.provider(root.provider_id)
        check_issuer(params, issuer=provider.issuer, metadata=await provider.metadata())
        if params.error is not None or params.code is None:
            raise AuthorizationRefused("the provider refused an authorization")
        return await provider.redeem(
            params.code,
            redirect_uri=self._login.redirect_uri(root),
            verifier=attempt.verifier,
            nonce=attempt.nonce,
            audiences=self._providers.login_audiences(root.provider_id, alone(attempt.only)),
        )

    async def _sign_in_or_wait(
        self,
        inbound: Inbound,
        root: SiteRuntime,
        attempt: Attempt,
        tokens: TokenSet,
        claims: Claims,
        request_id: str,
    ) -> web.Response:
        try:
            return await self._sign_in(inbound, root, attempt, tokens, claims, request_id)
        except NeedsNarrowLogin as error:
            if alone(attempt.only) is not None:
                self._tell_refusal(inbound, root, str(error), claims)
                return self._page(texts.TOKEN_REFUSED, error.status, self._again(attempt))
            log.info("the provider gives no refresh token: a second pass asks for one cluster alone")
            site = self._goal_site(attempt) or root
            return await self._login.to_provider(
                inbound,
                root,
                target=attempt.target,
                fragment=attempt.fragment,
                wish=attempt.wish,
                only=site.audience or root.client[1],
            )
        except ProviderError as error:
            self._tell_refusal(inbound, root, str(error), claims)
            return self._no_token(error, attempt, request_id)
        except StoreUnavailable as error:
            log.warning("the store did not keep a new session: %s", error)
            return self._outage(texts.STORE_DOWN, attempt)

    def _no_token(self, error: ProviderError, attempt: Attempt, request_id: str) -> web.Response:
        log.error("a login gives no token for its site (request %s): %s", request_id, error)
        return self._page((texts.TOKEN_REFUSED[0], error.public), error.status, self._again(attempt))

    def _goal_site(self, attempt: Attempt) -> SiteRuntime | None:
        """The site that a login is for."""
        wish = self._handoffs.read_wish(attempt.wish) if attempt.wish else None
        origin = wish.origin if wish is not None else "/".join(attempt.target.split("/", 3)[:3])
        return self._destinations.site_of(origin) if "://" in origin else None

    async def _sign_in(
        self,
        inbound: Inbound,
        root: SiteRuntime,
        attempt: Attempt,
        tokens: TokenSet,
        claims: Claims,
        request_id: str,
    ) -> web.Response:
        stays = not attempt.wish and attempt.target.startswith("/")
        if stays and root.carries and not admits(root.config.access, claims):
            issuer, client_id = root.client
            log.info("somebody the provider knows is not admitted to %s", root.authority)
            await self._grants.adopt_tokens(tokens, claims, issuer=issuer, client_id=client_id)
            self._tell_refusal(inbound, root, "not admitted", claims)
            return self._not_admitted(claims, attempt.target)
        live = await self._sessions.create(
            tokens,
            claims,
            site=root,
            address=inbound.client,
            agent=agent_of(inbound),
            only=alone(attempt.only) or "",
        )
        self._audit.login(inbound, live)
        await self._keep(inbound, live)
        response = await self._to_goal(inbound, attempt, live, request_id)
        self._metrics.login(root, "callback", "ok")
        self._attempts.finish(root, inbound.facts.head.cookie, response)
        return response

    async def _keep(self, inbound: Inbound, live: Live) -> None:
        """Let the browser keep the handle of its new session."""
        inbound.place = live.site
        session = await new_session(inbound.request)  # type: ignore[arg-type]  # needs no more than a mapping
        session.set_new_identity(live.handle)
        session["subject"] = live.claims.subject

    async def _to_goal(self, inbound: Inbound, attempt: Attempt, live: Live, request_id: str) -> web.Response:
        if not attempt.wish:
            return self._onward(inbound, attempt)
        wish = self._handoffs.read_wish(attempt.wish)
        site = None if wish is None else self._destinations.site_of(wish.origin)
        if wish is None or site is None:
            return self._page(texts.LATE, 400, self._start_at("/"))
        if not self._grants.serves(live.shared.grant, site.audience):
            refused = AudienceRefused(site.audience, site.client[1], "the provider gave another")
            return self._no_token(refused, attempt, request_id)
        return await self._login.hand_over(live, wish)

    def _onward(self, inbound: Inbound, attempt: Attempt) -> web.Response:
        """To where the person was going, if that is still ours."""
        goal = self._destinations.read(inbound.facts.site, attempt.target)
        if goal is None:
            return Page(*texts.NOT_OURS, actions=[Action(texts.OPEN, "/")]).response(400)
        return redirect(location(goal.origin, goal.path, attempt.fragment), status=303)

    # On another host.

    async def ticket(self, inbound: Inbound) -> web.Response:
        """Take a login over: the ticket must be for this host and for this browser."""
        try:
            return await self._take_over(inbound)
        except (ProviderError, StoreUnavailable):
            self._metrics.login(inbound.facts.site, "ticket", "unavailable")
            raise

    async def _take_over(self, inbound: Inbound) -> web.Response:
        site, cookies = inbound.facts.site, inbound.facts.head.cookie
        ticket = await self._handoffs.redeem(single(inbound.target, "t") or "")
        attempt = None if ticket is None else self._attempts.find_bound(site, cookies, ticket.bind)
        if ticket is None or attempt is None or ticket.origin != site.origin or attempt.is_late(inbound.began):
            return self._stray(inbound, step="ticket")
        live = await self._sessions.hand_over(ticket.root, site, address=inbound.client, agent=agent_of(inbound))
        if live is None:
            self._metrics.login(site, "ticket", "late")
            return self._page(texts.LATE, 400, self._again(attempt))
        self._audit.handed_over(inbound, live)
        self._metrics.login(site, "ticket", "ok")
        await self._keep(inbound, live)
        response = redirect(location(site.origin, attempt.target, attempt.fragment), status=303)
        self._attempts.expire(site, attempt, response)
        self._attempts.finish(site, cookies, response)
        return response

    # What can be in the way.

    def _tell_refusal(self, inbound: Inbound, root: SiteRuntime, reason: str, claims: Claims | None = None) -> None:
        self._metrics.login(root, "callback", "refused")
        user = "" if claims is None else claims.email or claims.subject
        agent = agent_of(inbound)
        self._audit.login_refused(inbound, reason, provider=root.client[0], agent=agent, user=user)

    def _stray(self, inbound: Inbound, *, step: str = "callback") -> web.Response:
        """A callback that belongs to no attempt of this browser: restart kindly, never by itself."""
        site = inbound.facts.site
        if inbound.live is not None:
            return redirect(site.origin + "/", status=303)
        self._metrics.login(site, step, "stray")
        known = self._attempts.has_any(site, inbound.facts.head.cookie)
        return self._page(texts.LATE if known else texts.NO_COOKIE, 400, self._start_at("/"))

    def _start_at(self, goal: str) -> str:
        return f"{self._prefix}/start?rd={quote(goal, safe='')}"

    def _again(self, attempt: Attempt, *, fragment: bool = False) -> str:
        """Where the same login begins anew; of one that another host asked for, with its wish."""
        if attempt.wish:
            return f"{self._prefix}/start?for={attempt.wish}"
        return self._start_at(attempt.target) + (f"&f={quote(attempt.fragment, safe='')}" if fragment else "")

    def _page(self, text: tuple[str, str], status: int, again: str) -> web.Response:
        actions = [Action(texts.SIGN_IN_AGAIN, again)]
        return Page(*text, actions=actions).response(status)

    def _provider_says_no(self, params: CallbackParams, again: str) -> web.Response:
        error = params.error or ""
        log.warning("the provider refused an authorization: %s (%s)", error[:64], params.error_description)
        heading, sentence = texts.PROVIDER_SAYS_NO
        hint = texts.INVALID_SCOPE_HINT if error == "invalid_scope" else ""
        return self._page((heading, sentence + known_error(error) + hint), 400, again)

    def _outage(self, text: tuple[str, str], attempt: Attempt) -> web.Response:
        """The code may be lost: the page begins anew by itself, when the provider or the store is back."""
        self._metrics.login(self._destinations.table.login, "callback", "unavailable")
        again = self._again(attempt, fragment=True)
        page = Page(
            *text,
            actions=[Action(texts.SIGN_IN_AGAIN, again)],
            refresh=RETRY_AFTER,
            refresh_url=again,
        )
        return page.response(503, headers={"Retry-After": str(RETRY_AFTER)})

    def _not_admitted(self, claims: Claims, goal: str) -> web.Response:
        again = Action(texts.SOMEBODY_ELSE, self._start_at(goal))
        page = Page(*texts.DENIED, actions=[again], facts=known_of(claims))
        return page.response(403)


class AuthorizationRefused(LoginError):
    """The provider came back with an error instead of a code (RFC 6749 §4.1.2.1)."""


def agent_of(inbound: Inbound) -> str:
    """What the browser says that it is."""
    agent = next((v for n, v in inbound.request.raw_headers if n.lower() == b"user-agent"), b"")
    return agent.decode("ascii", "replace")
