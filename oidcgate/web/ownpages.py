"""
What lies below the prefix: the gate's own paths, each with its methods.

Edge: aiohttp responses through aiohttp-session's middleware. Unknown paths and methods are the client's mistake.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import parse_qsl, quote

from aiohttp import web
from aiohttp_session import get_session, session_middleware

from oidcgate.errors import OidcgateError, ProviderError, StoreUnavailable
from oidcgate.net.relay import CONTINUE
from oidcgate.oidc.logout import end_session_url
from oidcgate.policy import Crossing
from oidcgate.session.cookies import expire_cookie, find_cookie
from oidcgate.session.csrf import is_genuine, masked
from oidcgate.web import answers, texts
from oidcgate.web.accesspage import AccessPage
from oidcgate.web.backchannel import BackchannelLogout
from oidcgate.web.badge import BadgePages
from oidcgate.web.callback import CallbackPages
from oidcgate.web.facts import FactsTable, Inbound
from oidcgate.web.kubectlpage import KubectlPage
from oidcgate.web.landing import Landing
from oidcgate.web.login import LoginPages, LoginParts, redirect_wanted, shown, single
from oidcgate.web.logo import show_logo
from oidcgate.web.logs import AccessLog
from oidcgate.web.pages import Action, Page, Sign, json_response, redirect
from oidcgate.web.providers import Providers
from oidcgate.web.sessionpage import SessionPage
from oidcgate.web.storage import INBOUND_KEY, GateStorage

log = logging.getLogger("oidcgate.pages")

Handler = Callable[[Inbound], Awaitable[web.Response]]

MOST_FORM = 16 * 1024  # bytes of our own forms
FORM_TIME = 10.0  # seconds for one to arrive


class OwnPages:
    """Routes and answers everything below the prefix."""

    def __init__(
        self,
        *,
        facts: FactsTable,
        login: LoginPages,
        callback: CallbackPages,
        parts: LoginParts,
        landing: Landing,
        providers: Providers,
        storage: GateStorage,
        session_page: SessionPage,
        kubectl_page: KubectlPage,
        access_page: AccessPage,
        backchannel: BackchannelLogout,
        badge: BadgePages,
        access_log: AccessLog,
        prefix: str,
    ) -> None:
        self._facts = facts
        self._login = login
        self._callback_pages = callback
        self._destinations = parts.destinations
        self._handoffs = parts.handoffs
        self._sessions = parts.sessions
        self._landing = landing
        self._providers = providers
        self._session_page = session_page
        self._log = access_log
        self._prefix = prefix
        self._with_session = session_middleware(storage)
        self._routes: dict[str, dict[str, Handler]] = {
            "": {"GET": self._home},
            "start": {"GET": self._start, "POST": self._start_by_form},
            "callback": {"GET": self._callback},
            "ticket": {"GET": self._ticket},
            "sign_out": {"GET": self._ask_sign_out, "POST": self._sign_out},
            "signed_out": {"GET": self._signed_out},
            "userinfo": {"GET": self._userinfo},
            "session": {"GET": session_page.show, "POST": self._end_session},
            "access": {"GET": access_page.show},
            "kubectl": {"GET": kubectl_page.show},
            "backchannel-logout": {"POST": backchannel},
            "badge": {"GET": badge.state},
            "badge.js": {"GET": badge.script},
            "logo": {"GET": show_logo},
        }

    async def __call__(self, inbound: Inbound) -> web.Response:
        """Answer a request for one of our own paths."""
        name = inbound.path.removeprefix(self._prefix).removeprefix("/")
        methods = self._routes.get("callback" if name.startswith("callback/") else name)
        method = "GET" if inbound.method == "HEAD" else inbound.method
        if methods is None:
            return self._no_such_page(inbound)
        handler = methods.get(method)
        if handler is None:
            return self._no_such_method(inbound, methods)
        inbound.request[INBOUND_KEY] = inbound
        inbound.client = self._facts.client_address(inbound)
        answer = await self._with_session(inbound.request, lambda _request: handler(inbound))  # type: ignore[arg-type]
        assert isinstance(answer, web.Response)
        return self._finished(inbound, answer)

    def _finished(self, inbound: Inbound, response: web.Response) -> web.Response:
        finished = answers.finished(inbound, response, self._id(inbound))
        if b"<form" in (response.body if isinstance(response.body, bytes) else b""):
            # With no-referrer a browser sends `Origin: null` along with a form, which proves nothing.
            finished.headers["Referrer-Policy"] = "same-origin"
        return finished

    def _id(self, inbound: Inbound) -> str:
        return self._log.request_id(inbound.sequence)

    def _no_such_page(self, inbound: Inbound) -> web.Response:
        if inbound.facts.opens_page:
            return self._finished(inbound, Page(*texts.NOT_FOUND, actions=[Action(texts.OPEN, "/")]).response(404))
        return answers.finished(inbound, json_response(404, {"error": "not_found", "message": texts.NOT_FOUND[1]}))

    def _no_such_method(self, inbound: Inbound, methods: Iterable[str]) -> web.Response:
        if inbound.facts.opens_page:
            response: web.Response = Page(*texts.NO_METHOD, actions=[Action(texts.OPEN, "/")]).response(405)
        else:
            response = json_response(405, {"error": "method_not_allowed", "message": texts.NO_METHOD[1]})
        response.headers["Allow"] = ", ".join(methods)
        return self._finished(inbound, response)

    @staticmethod
    def _foreign(inbound: Inbound) -> web.Response:
        """403: another site's page sent the form, or asks."""
        if inbound.facts.opens_page:
            return Page(*texts.FOREIGN, actions=[Action(texts.OPEN, "/")]).response(403)
        return json_response(403, {"error": "forbidden", "message": texts.FOREIGN[0]})

    async def _start(self, inbound: Inbound) -> web.Response:
        return await self._login.start(inbound)

    async def _callback(self, inbound: Inbound) -> web.Response:
        provider_id = inbound.path.removeprefix(f"{self._prefix}/callback").removeprefix("/")
        return await self._callback_pages.callback(inbound, provider_id, self._id(inbound))

    async def _ticket(self, inbound: Inbound) -> web.Response:
        return await self._callback_pages.ticket(inbound)

    async def _start_by_form(self, inbound: Inbound) -> web.Response:
        """oauth2-proxy's own sign-in page posts ``rd``; the browser is sent to the address that takes it from there."""
        wanted = (await self._form(inbound)).get("rd") or redirect_wanted(inbound)
        goal = self._destinations.read(inbound.facts.site, wanted)
        address = "/" if goal is None else shown(goal, inbound.facts.site)
        return redirect(f"{inbound.facts.site.origin}{self._prefix}/start?rd={quote(address, safe='')}", status=303)

    async def _home(self, inbound: Inbound) -> web.Response:
        site = inbound.facts.site
        if inbound.live is None:
            return redirect(f"{site.origin}{self._prefix}/start?rd={quote(inbound.target, safe='')}")
        if self._landing.is_central and site is self._destinations.table.login:
            return await self._landing.show(inbound, inbound.live)
        actions = [Action(texts.OPEN_SITE.format(site.authority), "/")]
        if self._landing.is_central:
            actions.append(
                Action(texts.ALL_CLUSTERS, f"{self._destinations.table.login.origin}{self._prefix}/", quiet=True)
            )
        actions.append(Action(texts.SIGN_OUT, f"{self._prefix}/sign_out", quiet=True))
        facts = answers.known_of(inbound.live.claims)
        return Page(*texts.HOME, actions=actions, facts=facts, sign=Sign.PERSON).response()

    async def _userinfo(self, inbound: Inbound) -> web.Response:
        if inbound.live is None:
            return answers.unauthorized(inbound)
        if inbound.facts.how is Crossing.FOREIGN:
            return json_response(403, {"error": "forbidden", "message": texts.FOREIGN[0]})
        claims = inbound.live.claims
        return json_response(
            200,
            {
                "subject": claims.subject,
                "user": claims.subject,
                "email": claims.email,
                "groups": list(claims.groups),
                "name": claims.name,
                "preferred_username": claims.preferred_username,
                "preferredUsername": claims.preferred_username,
                "expires": int(claims.expires),
                "session_ends": int(inbound.live.session.ends),
            },
        )

    # The way out.

    async def _ask_sign_out(self, inbound: Inbound) -> web.Response:
        live = inbound.live
        if live is None:
            return self._signed_out_page()
        token = masked(live.session.csrf, secrets.token_bytes(16))
        wanted = single(inbound.target, "rd")
        fields = (("csrf", token), *((("rd", wanted),) if wanted is not None else ()))
        actions = [
            Action(texts.SIGN_OUT, f"{self._prefix}/sign_out", fields=fields),
            Action(texts.STAY, "/", quiet=True),
        ]
        who = answers.known_of(live.claims)[:1]
        return Page(*texts.SIGN_OUT_PAGE, actions=actions, facts=who, sign=Sign.ASK).response(
            form_origins=await self._end_session_origins(inbound)
        )

    async def _end_session_origins(self, inbound: Inbound) -> list[str]:
        """Where the form's answer may lead on to; browsers hold redirects of forms to form-action."""
        url = await self._end_session_url(inbound)
        login = self._destinations.table.login.origin
        origins = ["/".join(url.split("/", 3)[:3])] if url else []
        return [*origins, login] if login != inbound.facts.site.origin else origins

    async def _sign_out(self, inbound: Inbound) -> web.Response:
        live = inbound.live
        if inbound.facts.how is not Crossing.SAME:
            return self._foreign(inbound)
        form = await self._form(inbound)
        if live is not None and not is_genuine(form.get("csrf", ""), live.session.csrf):
            again = [Action(texts.TRY_AGAIN, f"{self._prefix}/sign_out")]
            return Page(texts.FORM_OLD, texts.NOTHING_CHANGED, actions=again).response(403)
        url = await self._end_session_url(inbound)
        session = await get_session(inbound.request)  # type: ignore[arg-type]  # needs no more than a mapping
        session.invalidate()
        onward = url or self._after_sign_out(inbound, form.get("rd"))
        response = redirect(await self._by_way_of_login_host(onward), status=303)
        # Browsers keep whole pages for the back button, even those marked no-store; this drops them.
        response.headers["Clear-Site-Data"] = '"cache"'
        return response

    async def _by_way_of_login_host(self, onward: str) -> str:
        """Where several clients are in use, their logins are kept on the login host, which has to end them all."""
        table = self._destinations.table
        if len(table.roots) == 1:
            return onward
        try:
            name = await self._handoffs.see_off(onward)
        except StoreUnavailable:
            return onward
        return f"{table.login.origin}{self._prefix}/signed_out?t={name}"

    def _after_sign_out(self, inbound: Inbound, wanted: str | None) -> str:
        """Where a sign-out that the provider has no part in leads: where the form says, if that is ours."""
        goal = None if wanted is None else self._destinations.read(inbound.facts.site, wanted)
        if goal is None:
            return f"{inbound.facts.site.origin}{self._prefix}/signed_out"
        return goal.origin + goal.path

    async def _end_session(self, inbound: Inbound) -> web.Response:
        if inbound.facts.how is not Crossing.SAME:
            return self._foreign(inbound)
        return await self._session_page.end(inbound, await self._form(inbound))

    async def _form(self, inbound: Inbound) -> dict[str, str]:
        """The fields of a small form; empty for anything else."""
        head, request = inbound.facts.head, inbound.request
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if head.chunked or head.length > MOST_FORM or kind != "application/x-www-form-urlencoded":
            return {}
        if head.expects_continue and inbound.downstream.transport is not None:
            inbound.downstream.transport.write(CONTINUE)
        try:
            async with asyncio.timeout(FORM_TIME):
                body = await request.read()
        except (OSError, web.RequestPayloadError):  # too slow, or gone
            return {}
        return dict(parse_qsl(body.decode("ascii", "replace")))

    async def _end_session_url(self, inbound: Inbound) -> str | None:
        """The provider's own sign-out, where it has one and answers (OIDC RP-Initiated Logout §2)."""
        live, site = inbound.live, inbound.facts.site
        provider = self._providers.by_id(site.provider_id)
        if live is None or provider is None:
            return None
        try:
            return end_session_url(
                await provider.metadata(),
                id_token_hint=live.session.id_token_hint,
                client_id=provider.client_id,
                post_logout_redirect_uri=f"{self._destinations.table.login.origin}{self._prefix}/signed_out",
                state=secrets.token_urlsafe(16),
            )
        except (ProviderError, OidcgateError) as error:
            log.info("sign-out stays local: %s", error)
            return None

    async def _signed_out(self, inbound: Inbound) -> web.Response:
        name = single(inbound.target, "t")
        onward = await self._handoffs.seen_off(name) if name is not None else None
        if onward is None or inbound.facts.site is not self._destinations.table.login:
            return self._signed_out_page()
        response = redirect(onward, status=303)
        for root in self._destinations.table.roots.values():
            handle = find_cookie(inbound.facts.head.cookie, root.names.session)
            live = await self._sessions.resume(handle, root, for_token=False) if handle is not None else None
            if live is not None:
                await self._sessions.end_browser(live, "the person signed out")
            if handle is not None:
                expiry = expire_cookie(root.names.session, secure=root.secure, domain=root.names.domain)
                response.headers.add("Set-Cookie", expiry)
        return response

    def _signed_out_page(self) -> web.Response:
        again = Action(texts.SIGN_IN_AGAIN, f"{self._prefix}/start?rd=%2F")
        return Page(*texts.SIGNED_OUT, actions=[again], sign=Sign.DONE).response()
