"""
The page and its assets. Edge: aiohttp server.

Built to Dashboard 2.7.0's habits: no authentication; gzip whenever Accept-Encoding has the word, even for
Range requests and without Vary; the document is never cached, assets carry only Last-Modified. Files are read
once, at start.
"""

import gzip
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Final

from aiohttp import web

HERE: Final = Path(__file__).parent
DOCUMENT: Final = "index.html"
TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Static:
    """Serves the files beside this module; `started_at` (seconds since the epoch) is their Last-Modified."""

    def __init__(self, started_at: float) -> None:
        # Not the files' own date: an old date would let browsers keep an asset from the previous release.
        self._modified = formatdate(started_at, usegmt=True)
        paths = [path for path in sorted(HERE.iterdir()) if path.suffix in TYPES]
        self._plain = {path.name: path.read_bytes() for path in paths}
        self._gzipped = {name: gzip.compress(body) for name, body in self._plain.items()}

    def routes(self) -> list[web.RouteDef]:
        """`/`, `/index.html` (moved) and each asset."""
        assets = [web.get("/" + name, self._asset) for name in self._plain if name != DOCUMENT]
        return [web.get("/", self._document), web.get("/" + DOCUMENT, self._moved), *assets]

    async def _document(self, request: web.Request) -> web.Response:
        return self._file(request, DOCUMENT, {"Cache-Control": "no-cache, no-store, must-revalidate"})

    async def _moved(self, _request: web.Request) -> web.Response:
        return web.Response(status=301, headers={"Location": "./"})

    async def _asset(self, request: web.Request) -> web.Response:
        if request.headers.get("If-Modified-Since") == self._modified:
            return web.Response(status=304, headers={"Last-Modified": self._modified})
        return self._file(request, request.path.removeprefix("/"), {"Last-Modified": self._modified})

    def _file(self, request: web.Request, name: str, headers: Mapping[str, str]) -> web.Response:
        zipped = "gzip" in request.headers.get("Accept-Encoding", "")
        return web.Response(
            body=(self._gzipped if zipped else self._plain)[name],
            content_type=TYPES[Path(name).suffix],
            charset="utf-8",
            headers={**headers, **({"Content-Encoding": "gzip"} if zipped else {})},
        )
