"""
The demo issuer's endpoints: sign-in, tokens, documents.

Edge: aiohttp server.
`routes` wraps each handler: the request arrives, passes its stages, and refusals raised anywhere below
become answers. Methods are not restricted, as in Dex.
"""

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from urllib.parse import urlencode

import jwt
from aiohttp import web
from multidict import MultiDict, MultiDictProxy

from oidcgate.demo.issuer_authorization import (
    AuthRequest,
    Refused,
    SentBack,
    authorization_request,
    callback_query,
    with_query,
)
from oidcgate.demo.issuer_grants import TokenProblem, authenticated
from oidcgate.demo.issuer_metadata import metadata
from oidcgate.demo.issuer_model import CONNECTOR, DEVICE_CALLBACK, Claims, Client, Parameters, Person
from oidcgate.demo.issuer_pages import error_page, login_page, welcome_page
from oidcgate.demo.issuer_sessions import COOKIE, Session
from oidcgate.demo.issuer_state import Dropped, Failed, IssuerState
from oidcgate.demo.issuer_tokens import Grant, new_id

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_LIFE = 24 * 60 * 60  # seconds from the authorization request to the password
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
BROKEN = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>\n"


class Endpoints:
    """The handlers of one issuer."""

    def __init__(self, state: IssuerState) -> None:
        self.state = state

    def routes(self) -> Iterable[web.RouteDef]:
        """All routes but sign-out."""
        path = self.state.path
        yield web.route("*", path or "/", self.welcome)
        for tail, name, handler in (
            ("/.well-known/openid-configuration", "discovery", self.discovery),
            ("/keys", "keys", self.keys),
            ("/healthz", "healthz", self.healthz),
            ("/auth", "auth", self.auth),
            ("/auth/{connector}", "auth:connector", self.connector),
            ("/auth/{connector}/login", "login", self.login),
            ("/token", "token", self.token),
            ("/userinfo", "userinfo", self.userinfo),
        ):
            yield web.route("*", path + tail, guarded(self.state, name, handler))

    async def welcome(self, _request: web.Request) -> web.Response:
        """A page for whoever opens the issuer in a browser."""
        return html(welcome_page(self.state.url))

    async def discovery(self, _request: web.Request) -> web.Response:
        """OIDC Discovery §4.2; no caching header, as in Dex."""
        document = metadata(self.state.url, sessions=self.state.has_sessions)
        change = self.state.quirks.discovery
        return document_reply(change(document) if change else document)

    async def keys(self, _request: web.Request) -> web.Response:
        """The JWK Set; a cache that obeys the header misses a rotation for ten minutes."""
        document = self.state.keys.jwks()
        change = self.state.quirks.jwks
        headers = {"Cache-Control": "max-age=600, must-revalidate"}
        return document_reply(change(document) if change else document, headers=headers)

    async def healthz(self, _request: web.Request) -> web.Response:
        """Always well."""
        return web.Response(text="Health check passed")

    async def auth(self, request: web.Request) -> web.Response:
        """On to the only connector; nothing is checked here, unless nobody will be asked for a password."""
        query = await parameters(request)
        if query.popall("connector_id", [CONNECTOR])[0] != CONNECTOR:
            raise Refused(400, "Connector ID does not match a valid Connector")
        if self.state.auto_login:
            return await self._authorize(request, query)
        target = f"{self.state.path}/auth/{CONNECTOR}?{urlencode(sorted(query.items(), key=lambda pair: pair[0]))}"
        return redirect(302, target)

    async def connector(self, request: web.Request) -> web.Response:
        """Check the authorization request."""
        return await self._authorize(request, await parameters(request))

    async def login(self, request: web.Request) -> web.Response:
        """The form and its answer; a failed sign-in shows the form again and never reaches the client."""
        handle = request.query.get("state", "")
        if not handle:
            raise Refused(400, "User session error.")
        if handle not in self.state.waiting:
            raise Refused(400, "Requested resource does not exist.")
        until, waiting = self.state.waiting[handle]
        if request.method != "POST":
            return self._form(request, waiting)
        form = await fields(request)
        person = self.state.person(form.get("login", ""), form.get("password", ""))
        if person is None:
            return self._form(request, waiting, login=form.get("login", ""), failed=True)
        if self.state.now() > until:
            raise Refused(400, "User session has expired.")
        del self.state.waiting[handle]
        return self._signed_in(request, waiting, person)

    async def token(self, request: web.Request) -> web.Response:
        """RFC 6749 §4.1.3 and §6."""
        if request.method != "POST":
            raise TokenProblem(400, "invalid_request", "method not allowed")
        form = await fields(request)
        further = self.state.further_grants.get(form.get("grant_type", ""))
        if further is not None:  # these prove themselves by what they bring
            return await further(form)
        grants = {"authorization_code": self._redeem, "refresh_token": self._refresh}
        if form.get("grant_type") not in grants:
            raise TokenProblem(400, "unsupported_grant_type")
        client = authenticated(request.headers.get("Authorization", ""), form, self.state.clients)
        reply = await grants[form["grant_type"]](form, client)
        quirks = self.state.quirks
        body = quirks.token_reply(reply) if quirks.token_reply else reply
        return document_reply(body, status=quirks.token_status or 200, headers=NO_STORE)

    async def userinfo(self, request: web.Request) -> web.Response:
        """The claims of any token of ours, an ID token included: no fresher than the token."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            body = {"error": "access_denied", "error_description": "Invalid bearer token."}
            return document_reply(body, status=401, headers={"WWW-Authenticate": "Bearer"})
        try:
            return document_reply(self.state.keys.verify(token, issuer=self.state.url))
        except jwt.InvalidTokenError:
            raise TokenProblem(403, "access_denied", "Invalid bearer token.") from None

    async def _redeem(self, form: MultiDictProxy[str], client: Client) -> Claims:
        code, grant = self.state.codes.check(form, client)
        await self.state.arrive("token:code")
        self.state.codes.claim(code)
        offline = "offline_access" in grant.scopes
        refresh_token = self.state.refresh_tokens.issue(grant) if offline else None
        return self.state.token_set(grant, code=code, refresh_token=refresh_token)

    async def _refresh(self, form: MultiDictProxy[str], client: Client) -> Claims:
        tokens = self.state.refresh_tokens
        record, presented, scopes = tokens.check(form, client)
        await self.state.arrive("token:refresh")
        refresh_token, grant = tokens.claim(record, presented, self.state.newest)
        return self.state.token_set(replace(grant, scopes=scopes), refresh_token=refresh_token)

    async def _authorize(self, request: web.Request, query: MultiDict[str]) -> web.Response:
        asked = authorization_request(query, self.state.clients)
        if request.match_info.get("connector", CONNECTOR) != CONNECTOR:
            raise Refused(400, "Connector failed to initialize")
        if self.state.auto_login:
            return self._signed_in(request, asked, self.state.people[self.state.auto_login])
        prompt = query.get("prompt", "") if self.state.has_sessions else ""
        session = self.state.sessions.find(request.cookies.get(COOKIE))
        if session and asked.client_id in session.clients and prompt != "login":
            return self._granted(asked, session.person, session)
        if prompt == "none":
            raise SentBack(asked.redirect_uri, asked.state, "login_required", "User is not signed in.")
        handle = new_id()
        self.state.waiting[handle] = (self.state.now() + REQUEST_LIFE, asked)
        return redirect(302, f"{self.state.path}/auth/{CONNECTOR}/login?back=&state={handle}")

    def _form(self, request: web.Request, asked: AuthRequest, *, login: str = "", failed: bool = False) -> web.Response:
        client = self.state.clients.get(asked.client_id)
        page = login_page(
            request.path_qs,
            client_name=(client and client.name) or asked.client_id,
            login=login,
            failed=failed,
            hints=self.state.people.values() if self.state.hints else (),
        )
        return html(page, status=401 if failed else 200)

    def _signed_in(self, request: web.Request, asked: AuthRequest, person: Person) -> web.Response:
        if not self.state.has_sessions:
            return self._granted(asked, person, None)
        session = self.state.sessions.find(request.cookies.get(COOKIE))
        if session is None or session.person.user_id != person.user_id:
            session = self.state.sessions.start(person)
        session.auth_time = int(self.state.now())
        response = self._granted(asked, person, session)
        # Other demo programs share the host name, and cookies know no ports: hence the telling name.
        response.set_cookie(
            COOKIE,
            session.handle,
            path=self.state.path or "/",
            secure=request.secure,
            httponly=True,
            samesite="Lax",
        )
        return response

    def _granted(self, asked: AuthRequest, person: Person, session: Session | None) -> web.Response:
        grant = Grant(
            client_id=asked.client_id,
            person=person,
            scopes=asked.scopes,
            nonce=asked.nonce,
            redirect_uri=asked.redirect_uri,
            challenge=asked.challenge,
            challenge_method=asked.challenge_method,
        )
        code = self.state.codes.issue(self.state.grant(grant, session))
        return back(self.state, asked.redirect_uri, [("code", code), ("state", asked.state)])


def guarded(state: IssuerState, name: str, handler: Handler) -> Handler:
    """``handler`` with its stages before and after, and with refusals turned into answers."""

    async def endpoint(request: web.Request) -> web.StreamResponse:
        try:
            await state.arrive(name)
            response = await handler(request)
            await state.pass_stage(f"{name}:reply")
        except Refused as refused:
            return html(error_page(refused.status, refused.text), status=refused.status)
        except SentBack as sent:
            return back(state, sent.redirect_uri, sent.parameters)
        except TokenProblem as problem:
            return document_reply(problem.body, status=problem.status)
        except Failed as failed:
            return html(BROKEN.format(failed.status), status=failed.status)
        except Dropped:
            request.protocol.force_close()
            return web.Response()  # never sent
        return response

    return endpoint


async def fields(request: web.Request) -> MultiDictProxy[str]:
    """The form in the body; the query does not count."""
    form = await request.post()
    return MultiDictProxy(MultiDict((name, value) for name, value in form.items() if isinstance(value, str)))


async def parameters(request: web.Request) -> MultiDict[str]:
    """Form and query together; the form's values come first."""
    return MultiDict([*(await fields(request)).items(), *request.query.items()])


def back(state: IssuerState, redirect_uri: str, answer: Parameters) -> web.Response:
    """The redirect to the client."""
    if redirect_uri == DEVICE_CALLBACK:
        redirect_uri = state.path + redirect_uri
    query = callback_query(redirect_uri, answer)
    change = state.quirks.callback_params
    return redirect(303, with_query(redirect_uri, change(query) if change else query))


def redirect(status: int, location: str) -> web.Response:
    """A redirect without a body."""
    return web.Response(status=status, headers={"Location": location})


def html(page: str, *, status: int = 200) -> web.Response:
    """A page."""
    return web.Response(text=page, status=status, content_type="text/html")


def document_reply(body: Claims | bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON document, its media type without a charset; bytes go out as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return web.Response(body=data, status=status, headers=headers, content_type="application/json")
