"""
Doubles of the cluster UIs: a server each, built to the facts, and a page that does what the UI's own script does where
logins are concerned. Only what matters to whoever stands in front is there.

A page keeps the views that it ever showed in its tab's `sessionStorage`, so that none passes unseen.
"""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from oidcgate.demo.ui.access import Access, refusals
from oidcgate.demo.ui.evidence import Arrival, Evidence, Handler
from oidcgate.demo.ui.rbac import DEFAULT_RULES
from oidcgate.demo.ui.token import BearerVerifier
from tests.support.stack import CLIENT, Clock, Stack, merged
from tests.web.steps import MEMORY, set_clock

HERE = Path(__file__).parent
HEAD_LIMIT = 1 << 20  # bytes, as Go's net/http
BRISK = 60  # ms between two polls of a page, in place of seconds


class UI:
    """
    What all doubles share: a server that writes down what arrives, and fails on demand.

    Attributes:
        preset: the gate's name for it.
        first: the view that somebody signed in sees first.
        own_login: the views that ask for a login of the UI's own.
        failures: statuses with which the next requests of a path are answered, before anything else is looked at.
    """

    preset = ""
    first = "workloads"
    own_login: tuple[str, ...] = ("login",)
    access: Access

    def __init__(self) -> None:
        self.evidence = Evidence(time.time, record=True)
        self.failures: defaultdict[str, list[int]] = defaultdict(list)
        self._runner: web.AppRunner | None = None
        self.url = ""

    @property
    def arrivals(self) -> list[Arrival]:
        """What came, oldest first."""
        return list(self.evidence.arrivals)

    def asked(self, path: str) -> list[Arrival]:
        """What came for one path."""
        return [arrival for arrival in self.arrivals if arrival.raw_target.partition("?")[0] == path]

    async def start(self, issuer: str, audience: str = CLIENT, *, clock: Callable[[], float] = time.time) -> None:
        """Listen, before an API server that trusts an issuer."""
        self.evidence.clock = clock
        self.access = self.make_access(BearerVerifier(issuer, audience, clock=clock))
        app = web.Application(middlewares=[self.evidence.middleware, self._failing, *self.middlewares()])
        app.add_routes(self.routes())
        self._runner = web.AppRunner(
            app, access_log=None, max_line_size=HEAD_LIMIT, max_field_size=HEAD_LIMIT, shutdown_timeout=0.2
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    def make_access(self, verifier: BearerVerifier) -> Access:
        """The door of the API server behind."""
        return Access(verifier, DEFAULT_RULES)

    def middlewares(self) -> list[Any]:
        """What every request passes, besides."""
        return [refusals]

    def routes(self) -> list[web.RouteDef]:
        """Its paths."""
        raise NotImplementedError

    @web.middleware
    async def _failing(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        waiting = self.failures[request.path]
        if waiting:
            return web.Response(status=waiting.pop(0), text="upstream connect error")
        return await handler(request)

    async def index(self, _request: web.Request) -> web.Response:
        """The one page."""
        text = (HERE / f"uis_{self.preset.replace('-', '_')}.html").read_text().replace("__POLL__", str(BRISK))
        headers = {"Cache-Control": "no-cache, no-store, must-revalidate"}
        return web.Response(text=text, content_type="text/html", headers=headers)


class UIStack(Stack):
    """Issuer, a double, and the gate before it; all go by one clock."""

    def __init__(self, double: UI, **options: Any) -> None:
        self.clock = Clock()
        self.double = double
        options["site"] = merged({"upstream": {"ui": double.preset}}, options.get("site", {}))
        options["config"] = merged(MEMORY, options.get("config", {}))
        options["issuer"] = {"clock": self.clock, "id_token_life": 300, **options.get("issuer", {})}
        super().__init__(upstream="set at the start", **options)

    async def __aenter__(self) -> "UIStack":
        await self.issuer.start()
        await self.double.start(self.issuer.url, clock=self.clock)
        self._upstream = self.double.url
        await self.start_gate()
        set_clock(self, self.clock)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await super().__aexit__(*failure)
        await self.double.stop()


@asynccontextmanager
async def gated(double: UI, **options: Any) -> AsyncIterator[UIStack]:
    """A double behind a gate."""
    async with UIStack(double, **options) as stack:
        yield stack


def api_list(items: list[str], errors: list[Any]) -> web.Response:
    """A list as the Dashboards answer it."""
    body = {
        "listMeta": {"totalItems": len(items)},
        "pods": [{"objectMeta": {"name": n}} for n in items],
        "errors": errors,
    }
    return web.json_response(body)
