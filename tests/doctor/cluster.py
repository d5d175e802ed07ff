"""The API server's double, which also says its version."""

import ssl
import time
from email.utils import formatdate

from aiohttp import web

from tests.support.apiserver import ApiServer


class Cluster(ApiServer):
    """As the real one answers strangers by default."""

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen, again on the same port if it did before."""
        app = web.Application()
        app.router.add_get("/version", self._version)
        app.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=tls, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]
        self.scheme = "http" if tls is None else "https"

    async def _version(self, _request: web.Request) -> web.Response:
        headers = {"Date": formatdate(time.time() + self.skew, usegmt=True)}
        return web.json_response({"major": "1", "minor": "34", "gitVersion": "v1.34.0"}, headers=headers)
