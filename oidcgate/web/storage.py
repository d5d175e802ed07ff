"""
aiohttp-session over our own sessions: what the gate's pages read and write.

Edge: aiohttp-session's storage interface. The relayed path does not come here; it looks at the same sessions directly.
A session that is new gets its cookie, one that was emptied is ended everywhere and loses it.
"""

from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp_session import AbstractStorage, Session

from oidcgate.session.cookies import expire_cookie, set_cookie
from oidcgate.web.sessions import Sessions

if TYPE_CHECKING:
    from oidcgate.web.facts import Inbound

INBOUND_KEY: "web.RequestKey[Inbound]" = web.RequestKey("inbound")


class GateStorage(AbstractStorage):
    """A view of ``Sessions`` as aiohttp-session wants it; the request carries its ``Inbound``."""

    def __init__(self, sessions: Sessions) -> None:
        super().__init__()
        self._sessions = sessions

    async def load_session(self, request: web.Request) -> Session:
        """The browser's session, or a new empty one."""
        inbound = request[INBOUND_KEY]
        live = inbound.live
        if live is None:
            return Session(None, data=None, new=True)
        content = {"subject": live.claims.subject}
        return Session(live.handle, data={"created": int(live.session.started), "session": content}, new=False)

    async def save_session(self, request: web.Request, response: web.StreamResponse, session: Session) -> None:
        """Set the cookie of a new session, or end an emptied one and expire its cookie."""
        inbound = request[INBOUND_KEY]
        site = inbound.place or inbound.facts.site
        if session.empty:
            if inbound.live is not None:
                await self._sessions.end_browser(inbound.live, "the person signed out")
            expiry = expire_cookie(site.names.session, secure=site.secure, domain=site.names.domain)
            response.headers.add("Set-Cookie", expiry)
        elif session.identity is not None and session.new:
            cookie = set_cookie(
                site.names.session,
                bytes(session.identity).decode(),
                secure=site.secure,
                domain=site.names.domain,
            )
            response.headers.add("Set-Cookie", cookie)
        for expiry in site.ui_cookie_expiries(inbound.facts.head.cookie):
            response.headers.add("Set-Cookie", expiry)
