"""
A SockJS server with sockjs-go's manners, good and bad. Edge: aiohttp server.

The quirks are kept on purpose, because whoever stands in front must cope with them: no authentication and no
Origin check; the CORS headers of the XHR transports name whatever Origin asked, with credentials; a websocket
ends by dropping TCP after the `c[...]` frame, without a websocket Close frame; a client that hangs up ends
its session at once. Sources: the SockJS protocol 0.3.3, sockjs-go 2.1, sockjs-client 1.6.
"""

import asyncio
import json
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from aiohttp import WSMsgType, web

from oidcgate.demo.ui.sockjs_session import Peer, SockSession

RESPONSE_LIMIT: Final = 128 * 1024  # bytes of one streaming reply before it rotates, so that no client buffers for ever
YEAR: Final = 365 * 24 * 3600
NO_CACHE: Final = "no-store, no-cache, no-transform, must-revalidate, max-age=0"
JAVASCRIPT: Final = "application/javascript; charset=UTF-8"
BUSY: Final = 'c[2010,"Another connection still open"]'

_CALLBACK: Final = re.compile(r"[a-zA-Z0-9_.-]+")

# The padding makes browsers render at once; the script's three names are the protocol's.
_HTMLFILE: Final = (
    '<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>SockJS</title></head><body>\n'
    "<script>var c = parent.{callback}; c.start(); function p(d) {{ c.message(d); }} "
    "window.onload = c.stop;</script>\n" + " " * 1024 + "\n\n"
)
_IFRAME: Final = (
    '<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>SockJS</title>\n'
    '<script src="//cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js"></script>\n'
    "<script>document.domain = document.domain; SockJS.bootstrap_iframe();</script>\n"
    "</head><body></body></html>\n"
)


def _script(frame: str) -> str:
    """`frame` as a JavaScript string that cannot end the script element around it."""
    return json.dumps(frame).replace("</", "<\\/")


@dataclass(frozen=True, slots=True)
class Transport:
    """How one HTTP transport dresses frames; `{callback}` in the prelude is the browser's function."""

    content_type: str
    dress: Callable[[str, str], str]  # (frame, callback) -> text
    prelude: str = ""
    streaming: bool = False
    callback: bool = False


RECEIVERS: Final = {
    "xhr": Transport(JAVASCRIPT, lambda frame, _c: frame + "\n"),
    "xhr_streaming": Transport(JAVASCRIPT, lambda frame, _c: frame + "\n", "h" * 2048 + "\n", streaming=True),
    "eventsource": Transport(
        "text/event-stream; charset=UTF-8", lambda frame, _c: f"data: {frame}\r\n\r\n", "\r\n", streaming=True
    ),
    "htmlfile": Transport(
        "text/html; charset=UTF-8",
        lambda frame, _c: f"<script>\np({_script(frame)});\n</script>\r\n",
        _HTMLFILE,
        streaming=True,
        callback=True,
    ),
    "jsonp": Transport(JAVASCRIPT, lambda frame, c: f"/**/{c}({_script(frame)});\r\n", callback=True),
}


def cors(request: web.Request) -> dict[str, str]:
    """The quirk: any Origin is welcome, with credentials."""
    origin = request.headers.get("Origin", "null")
    headers = {
        "Access-Control-Allow-Origin": "*" if origin == "null" else origin,
        "Access-Control-Allow-Credentials": "true",
    }
    asked = request.headers.get("Access-Control-Request-Headers")
    if asked:
        headers["Access-Control-Allow-Headers"] = asked
    return headers


def messages(text: str) -> list[str]:
    """The browser's payload: a JSON array of strings; raises ValueError."""
    texts = json.loads(text)
    if not isinstance(texts, list) or not all(isinstance(item, str) for item in texts):
        raise ValueError("not a list of strings")
    return texts


class SockJS:
    """
    The sessions and the routes that reach them.

    `peer_for` is asked for the application's end of each new session. `heartbeat` and `orphan_timeout` are
    seconds.
    """

    def __init__(
        self,
        peer_for: Callable[[SockSession], Peer],
        *,
        heartbeat: float = 25,
        orphan_timeout: float = 5,
        response_limit: int = RESPONSE_LIMIT,
    ) -> None:
        self._peer_for = peer_for
        self._heartbeat = heartbeat
        self._orphan_timeout = orphan_timeout
        self._response_limit = response_limit
        self._named: dict[str, SockSession] = {}  # those that come back by HTTP request
        self._live: set[SockSession] = set()

    def routes(self, prefix: str) -> list[web.RouteDef]:
        """All of SockJS under `prefix` (no slash at its end)."""
        session = prefix + r"/{server:[^/.]+}/{session:[^/.]+}"
        receivers = "|".join(RECEIVERS)
        return [
            web.get(prefix, self._greeting),
            web.get(prefix + "/", self._greeting),
            web.get(prefix + "/info", self._info),
            web.options(prefix + "/info", self._preflight),
            web.get(prefix + r"/iframe{rest:[0-9\-.a-z_]*}.html", self._iframe),
            web.get(session + "/websocket", self._websocket),
            web.post(session + "/{transport:xhr|xhr_streaming}", self._receive),
            web.get(session + "/{transport:eventsource|htmlfile|jsonp}", self._receive),
            web.post(session + "/xhr_send", self._xhr_send),
            web.post(session + "/jsonp_send", self._jsonp_send),
            web.options(session + "/{transport:xhr_send|jsonp_send|" + receivers + "}", self._preflight),
        ]

    def close_all(self) -> None:
        """Ends every session at once."""
        for session in list(self._live):
            session.end()

    async def _greeting(self, _request: web.Request) -> web.Response:
        return web.Response(text="Welcome to SockJS!\n", content_type="text/plain", charset="UTF-8")

    async def _info(self, request: web.Request) -> web.Response:
        info = {
            "websocket": True,
            "cookie_needed": False,
            "origins": ["*:*"],
            "entropy": secrets.randbits(31),
        }
        return web.json_response(info, headers={"Cache-Control": NO_CACHE, **cors(request)})

    async def _preflight(self, request: web.Request) -> web.Response:
        method = "GET" if request.path.endswith("/info") else "POST"
        cached = {"Cache-Control": f"public, max-age={YEAR}", "Access-Control-Max-Age": str(YEAR)}
        return web.Response(
            status=204,
            headers={"Access-Control-Allow-Methods": f"OPTIONS, {method}", **cached, **cors(request)},
        )

    async def _iframe(self, _request: web.Request) -> web.Response:
        headers = {"Cache-Control": f"public, max-age={YEAR}", "ETag": '"sockjs-iframe"'}
        return web.Response(text=_IFRAME, content_type="text/html", charset="UTF-8", headers=headers)

    def _new(self, name: str = "") -> SockSession:
        def forget(session: SockSession) -> None:
            self._live.discard(session)
            if self._named.get(name) is session:
                del self._named[name]

        session = SockSession(heartbeat=self._heartbeat, orphan_timeout=self._orphan_timeout, on_end=forget)
        session.peer = self._peer_for(session)
        self._live.add(session)
        if name:
            self._named[name] = session
        return session

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(status=400, text='Can "Upgrade" only to "WebSocket".')
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        transport = request.transport
        assert transport is not None
        session = self._new()
        session.attach()
        sender = asyncio.create_task(_pump(session, socket, transport), name="sockjs-websocket-out")
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and message.data:
                    session.receive(messages(message.data))
        except ValueError:  # sockjs-go, too, just hangs up
            transport.close()
        finally:
            # No await here: a lost connection cancels this very handler.
            sender.cancel()
            session.end()
        return socket

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        transport = RECEIVERS[request.match_info["transport"]]
        callback = request.query.get("c", "")
        if transport.callback and not _CALLBACK.fullmatch(callback):
            return web.Response(status=500, text='"callback" parameter required')
        name = request.match_info["session"]
        session = self._named.get(name) or self._new(name)
        if not session.attach():
            return await self._reply(request, transport, callback, None)
        try:
            return await self._reply(request, transport, callback, session)
        except (ConnectionError, asyncio.CancelledError):
            session.end()
            raise
        finally:
            session.detach()

    async def _reply(
        self, request: web.Request, transport: Transport, callback: str, session: SockSession | None
    ) -> web.StreamResponse:
        """
        Writes frames until the reply is full (polling: one frame). No session means that it has a receiver
        already.
        """
        headers = {"Content-Type": transport.content_type, "Cache-Control": NO_CACHE, **cors(request)}
        if not transport.streaming:
            frame = await session.next_frame() if session else BUSY
            return web.Response(body=transport.dress(frame, callback).encode(), headers=headers)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(transport.prelude.format(callback=callback).encode())
        left = self._response_limit
        while left > 0:
            frame = await session.next_frame() if session else BUSY
            chunk = transport.dress(frame, callback).encode()
            await response.write(chunk)
            left = 0 if frame.startswith("c") else left - len(chunk)
        await response.write_eof()
        return response

    async def _xhr_send(self, request: web.Request) -> web.Response:
        refusal = self._take(request, await request.text())
        content = {"Content-Type": "text/plain; charset=UTF-8", "Cache-Control": NO_CACHE, **cors(request)}
        return refusal or web.Response(status=204, headers=content)

    async def _jsonp_send(self, request: web.Request) -> web.Response:
        text = await request.text()
        if request.content_type == "application/x-www-form-urlencoded":
            text = parse_qs(text).get("d", [""])[0]
        refusal = self._take(request, text)
        headers = {"Cache-Control": NO_CACHE, **cors(request)}
        return refusal or web.Response(text="ok", content_type="text/plain", charset="UTF-8", headers=headers)

    def _take(self, request: web.Request, text: str) -> web.Response | None:
        """Hands a sent payload to its session; the refusal if that cannot be."""
        session = self._named.get(request.match_info["session"])
        if session is None:
            return web.Response(status=404, text="404 page not found", headers=cors(request))
        if not text:
            return web.Response(status=500, text="Payload expected.", headers=cors(request))
        try:
            session.receive(messages(text))
        except ValueError:
            return web.Response(status=500, text="Broken JSON encoding.", headers=cors(request))
        return None


async def _pump(session: SockSession, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
    """Writes frames until the close frame, then closes TCP once that has gone out: no websocket Close frame."""
    with suppress(ConnectionError):
        while True:
            frame = await session.next_frame()
            await socket.send_str(frame)
            if frame.startswith("c"):
                return transport.close()
