"""Headlamp behind a proxy that says who somebody is: its own cookie, its websocket, and its page."""

import json
import re

from aiohttp import web

from oidcgate.demo.ui.token import Caller
from tests.support.uis import UI

COOKIE = re.compile(r"headlamp-auth-main\.[0-9]+")
REVIEW = "/clusters/main/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


class Headlamp(UI):
    """
    Started with ``--proxy-auth``.

    Args:
        token_header: whether its release knows --proxy-auth-token-header (0.43 and newer).

    Attributes:
        cookies: its own login's cookies that came along.
        protocols: what websockets offered.
    """

    preset = "headlamp"
    first = "cluster"
    own_login = ("token",)

    def __init__(self, *, token_header: bool = True) -> None:
        super().__init__()
        self._token_header = token_header
        self.cookies: list[str] = []
        self.protocols: list[str] = []

    def routes(self) -> list[web.RouteDef]:
        """The backend's few paths, the cluster's, and the page for all others."""
        return [
            web.get("/config", self._config),
            web.post(REVIEW, self._review),
            web.get("/clusters/main/me", self._me),
            web.get("/clusters/main/api/v1/pods", self._pods),
            web.get("/wsMultiplexer", self._multiplexer),
            web.get("/{rest:.*}", self.index),
        ]

    async def _caller(self, request: web.Request) -> Caller:
        """Whose token goes to the API server: the token header's, else its cookie's, else the bearer."""
        own = [value for name, value in request.cookies.items() if COOKIE.fullmatch(name)]
        self.cookies += own
        told = request.headers.get("X-Forwarded-Id-Token", "") if self._token_header else ""
        token = told or next(iter(own), "")
        if token:
            request = request.clone(headers={**request.headers, "Authorization": f"Bearer {token}"})
        return await self.access.caller(request)

    async def _config(self, _request: web.Request) -> web.Response:
        return web.json_response({"clusters": [{"name": "main", "auth_type": ""}]})

    async def _review(self, request: web.Request) -> web.Response:
        await self._caller(request)
        return web.json_response({"kind": "SelfSubjectRulesReview"}, status=201)

    async def _me(self, request: web.Request) -> web.Response:
        """Fed by the identity headers alone."""
        names = {"username": "User", "email": "Email", "groups": "Group"}
        return web.json_response({key: request.headers.get(f"X-Forwarded-{name}", "") for key, name in names.items()})

    async def _pods(self, request: web.Request) -> web.Response:
        caller = await self._caller(request)
        self.access.demand(caller, "list", "pods")
        return web.json_response({"kind": "PodList", "items": [{"metadata": {"name": "cart-1"}}]})

    async def _multiplexer(self, request: web.Request) -> web.WebSocketResponse:
        self.protocols.append(request.headers.get("Sec-WebSocket-Protocol", ""))
        caller = await self._caller(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            asked = json.loads(message.data)
            said = {"clusterId": asked["clusterId"], "path": asked["path"], "type": "DATA", "data": caller.username}
            await socket.send_json(said)
        return socket
