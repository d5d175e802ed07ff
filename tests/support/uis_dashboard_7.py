"""
The Kubernetes Dashboard 7.x as it is: Kong's route table before auth, api and web, in one server, and its page.
"""

from typing import Any

from aiohttp import web

from oidcgate.demo.ui.access import KubeError
from oidcgate.demo.ui.evidence import Handler
from oidcgate.demo.ui.rbac import denial
from tests.support.uis import HEAD_LIMIT, UI, api_list

LONGEST_HEADER = 8192  # bytes of a line that Kong's nginx reads
UNAUTHORIZED = "MSG_LOGIN_UNAUTHORIZED_ERROR"
AUTH = ("/api/v1/login", "/api/v1/csrftoken/login", "/api/v1/me")
API = ("/api", "/metrics")


def service_of(path: str) -> str:
    """Which part Kong gives a path to."""
    if any(path == prefix or path.startswith(f"{prefix}/") for prefix in AUTH):
        return "auth"
    return "api" if any(path == prefix or path.startswith(f"{prefix}/") for prefix in API) else "web"


class Dashboard7(UI):
    """
    The chart.

    Args:
        kong: whether Kong is in front; else the gate is told its table.

    Attributes:
        served: each request's part and path.
    """

    preset = "dashboard-7"

    def __init__(self, *, kong: bool = True) -> None:
        super().__init__()
        self._kong_reads = LONGEST_HEADER if kong else HEAD_LIMIT
        self.served: list[tuple[str, str]] = []

    def middlewares(self) -> list[Any]:
        """Kong, then what an API server's 401 becomes."""
        return [self._kong, self._critical]

    def routes(self) -> list[web.RouteDef]:
        """By part; whatever is not known is the page."""
        return [
            web.get("/api/v1/me", self._me),
            web.get("/api/v1/pod", self._pods),
            web.get("/api/v1/pod/{namespace}", self._pods),
            web.get("/assets/config/config.json", self._config),
            web.get("/settings", self._settings),
            web.get("/{rest:.*}", self.index),
        ]

    @web.middleware
    async def _kong(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        longest = max(len(name) + len(value) + 4 for name, value in request.raw_headers)
        if longest > self._kong_reads:
            return web.Response(status=400, text="Request header or cookie too large")
        service = service_of(request.path)
        self.served.append((service, request.path))
        return await handler(request)

    @web.middleware
    async def _critical(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A 401 of the API server is one here, in text; only a 403 stays a 200 with errors."""
        try:
            return await handler(request)
        except KubeError as error:
            if error.code == 401:
                return web.Response(status=401, text=UNAUTHORIZED)
            return web.json_response(error.status(), status=error.code)

    async def _me(self, request: web.Request) -> web.Response:
        await self.access.caller(request)
        return web.json_response({"authenticated": True})

    async def _pods(self, request: web.Request) -> web.Response:
        caller = await self.access.caller(request)
        namespace = request.match_info.get("namespace", "").strip()
        if not self.access.may(caller, "list", "pods", namespace):
            refusal = KubeError(403, "Forbidden", denial(caller, "list", "pods", namespace))
            return api_list([], [{"ErrStatus": refusal.status()}])
        return api_list(["cart-1", "cart-2"], [])

    async def _config(self, _request: web.Request) -> web.Response:
        return web.json_response({})

    async def _settings(self, _request: web.Request) -> web.Response:
        return web.json_response({"resourceAutoRefreshTimeInterval": 10})
