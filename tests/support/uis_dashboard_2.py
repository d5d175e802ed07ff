"""
The Kubernetes Dashboard 2.7, to facts A: over the demo's API, which has its manners, the rights that it takes when
nobody looks, and its page.
"""

import secrets
import time
from typing import Any

from aiohttp import web

from oidcgate.demo.ui.access import Access
from oidcgate.demo.ui.api import Api, Csrf
from oidcgate.demo.ui.cluster import Cluster
from oidcgate.demo.ui.evidence import Handler
from oidcgate.demo.ui.rbac import DEFAULT_RULES, Rule
from oidcgate.demo.ui.shells import ShellPeer, Shells
from oidcgate.demo.ui.sockjs import SockJS
from oidcgate.demo.ui.token import BearerVerifier, Caller
from tests.support.uis import UI

ACCOUNT = "system:serviceaccount:kubernetes-dashboard:kubernetes-dashboard"
EXCLUSIVE = ("kubernetes-dashboard-key-holder", "kubernetes-dashboard-certs")


class AccountAccess(Access):
    """
    A1: auth is only on when the connection is TLS or ``--enable-insecure-login`` is set; otherwise whatever comes
    along is ignored, and the service account acts. With ``--enable-skip-login`` it also acts for whoever has no token.
    """

    def __init__(self, verifier: BearerVerifier, *, is_login_enabled: bool, may_skip: bool) -> None:
        super().__init__(verifier, (*DEFAULT_RULES, Rule(ACCOUNT)))
        self._is_login_enabled = is_login_enabled
        self._may_skip = may_skip

    async def bearer(self, request: web.Request) -> Caller:
        """Who acts."""
        names = request.headers
        skips = self._may_skip and "Authorization" not in names and "jweToken" not in names
        if not self._is_login_enabled or skips:
            return Caller(ACCOUNT, (ACCOUNT,), ACCOUNT, time.time() + 60, time.time())
        return await super().bearer(request)


class Dashboard2(UI):
    """
    Reached over plain HTTP.

    Args:
        insecure_login: as ``--enable-insecure-login``; skip_login: as ``--enable-skip-login``.
    """

    preset = "dashboard-2"

    def __init__(self, *, insecure_login: bool = True, skip_login: bool = False) -> None:
        super().__init__()
        self._insecure_login = insecure_login
        self._skip_login = skip_login
        self._csrf = Csrf(secrets.token_bytes(32))

    def make_access(self, verifier: BearerVerifier) -> Access:
        """With the service account."""
        return AccountAccess(verifier, is_login_enabled=self._insecure_login, may_skip=self._skip_login)

    def middlewares(self) -> list[Any]:
        """Its CSRF check, and the objects that nobody may see through it."""
        return [self._exclusive, *super().middlewares(), self._csrf.middleware]

    def routes(self) -> list[web.RouteDef]:
        """The API, the shells and the page."""
        clock = self.evidence.clock
        shells = Shells(clock=clock, changed=self.evidence.changed, bind_window=10)
        sockjs = SockJS(lambda session: ShellPeer(shells, session), heartbeat=25, orphan_timeout=5)
        api = Api(self.access, Cluster(clock), shells, self._csrf, clock=clock, https_mode=self._insecure_login)
        return [
            web.get("/", self.index),
            web.post("/api/v1/token/refresh", self._refresh),
            *api.routes(),
            *sockjs.routes("/api/sockjs"),
        ]

    @web.middleware
    async def _exclusive(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if any(name in request.raw_path for name in EXCLUSIVE):
            return web.Response(status=401, text="MSG_DASHBOARD_EXCLUSIVE_RESOURCE_ERROR")
        return await handler(request)

    async def _refresh(self, _request: web.Request) -> web.Response:
        """Its own tokens live 15 minutes; there is none here that still does."""
        return web.Response(status=401, text="MSG_TOKEN_EXPIRED_ERROR")
