"""
Sign-out at an issuer with sessions: RP-initiated, and told to the clients over the back channel.

Edge: aiohttp server and client.
The cookie decides who is signed out; without a hint that fits it the browser is asked first. Each client
gets one logout token and five seconds: no second try, no redirects followed.
"""

import asyncio
from collections.abc import Iterable

import aiohttp
import jwt
from aiohttp import web

from oidcgate.demo.issuer_authorization import Refused, with_query
from oidcgate.demo.issuer_endpoints import guarded, html, parameters, redirect
from oidcgate.demo.issuer_model import Claims, Client
from oidcgate.demo.issuer_pages import confirm_page, signed_out_page
from oidcgate.demo.issuer_sessions import COOKIE, Session
from oidcgate.demo.issuer_state import IssuerState

BACK_CHANNEL_LIMIT = 5.0  # seconds for each client


class Logout:
    """The end_session_endpoint and the back channel."""

    def __init__(self, state: IssuerState) -> None:
        self.state = state

    def routes(self) -> Iterable[web.RouteDef]:
        """Only what an issuer with sessions offers."""
        if self.state.has_sessions:
            yield web.route("*", f"{self.state.path}/logout", guarded(self.state, "logout", self.logout))

    async def logout(self, request: web.Request) -> web.Response:
        """OIDC RP-Initiated Logout §2; an expired hint is as good as any."""
        query = await parameters(request)
        hint = self._hint(query.get("id_token_hint", ""))
        target = self._target(query.get("post_logout_redirect_uri", ""), hint, query.get("state"))
        session = self.state.sessions.find(request.cookies.get(COOKIE))
        if session and hint.get("sid") != session.sid and query.get("confirm") != "yes":
            return html(confirm_page(request.path, session.person.name, query.items()))
        if session:
            await self.end(session)
        response = redirect(303, target) if target else html(signed_out_page())
        response.del_cookie(COOKIE, path=self.state.path or "/")
        return response

    async def end(self, session: Session) -> dict[str, int | None]:
        """
        End a session and tell its clients.

        Returns:
            What each client with a back channel answered: an HTTP status, or None for no answer.
        """
        self.state.sessions.end(session)
        self.state.refresh_tokens.end_session(session.sid)
        told = [self.state.clients[id] for id in session.clients if id in self.state.clients]
        listening = [client for client in told if client.backchannel_logout_uri]
        statuses = await asyncio.gather(*(self._tell(client, session) for client in listening))
        return {client.id: status for client, status in zip(listening, statuses, strict=True)}

    async def _tell(self, client: Client, session: Session) -> int | None:
        """OIDC Back-Channel Logout §2.5."""
        form = {"logout_token": self.state.logout_token(session, client.id)}
        limit = aiohttp.ClientTimeout(total=BACK_CHANNEL_LIMIT)
        try:
            async with aiohttp.ClientSession(timeout=limit) as http:
                uri, trust = client.backchannel_logout_uri or "", self.state.backchannel_trust
                async with http.post(uri, data=form, allow_redirects=False, ssl=trust) as reply:
                    return reply.status
        except (aiohttp.ClientError, TimeoutError):
            return None

    def _hint(self, token: str) -> Claims:
        try:
            return self.state.keys.verify(token, issuer=self.state.url, expired=True)
        except jwt.InvalidTokenError:
            return {}

    def _target(self, uri: str, hint: Claims, state: str | None) -> str | None:
        """Where the browser goes afterwards: only where the hint's client has registered it."""
        if not uri:
            return None
        audience = hint.get("azp") or hint.get("aud")
        client = self.state.clients.get(audience) if isinstance(audience, str) else None
        if client is None or uri not in client.post_logout_redirect_uris:
            raise Refused(400, "Unregistered post_logout_redirect_uri.")
        return with_query(uri, [("state", state)]) if state is not None else uri
