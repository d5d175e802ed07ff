"""The SockJS server on the wire: each transport's dress, and sockjs-go's quirks."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from oidcgate.demo.ui.sockjs import SockJS
from oidcgate.demo.ui.sockjs_session import SockSession

ORIGIN = {"Origin": "https://evil.example"}
HTTP_RECEIVERS = ("xhr", "xhr_streaming", "eventsource", "htmlfile", "jsonp")


class Echo:
    """An application that sends back what it gets, and closes when told `bye`."""

    def __init__(self, server: "Server", session: SockSession) -> None:
        self.server = server
        self.session = session
        server.open += 1

    def message(self, text: str) -> None:
        """Echo or close."""
        if text == "bye":
            return self.session.close(1, "bye")
        return self.session.send(text)

    def closed(self) -> None:
        """One less."""
        self.server.open -= 1
        self.server.gone.set()


class Server:
    """A SockJS server at /s with an echo behind it."""

    def __init__(self, **options: float) -> None:
        self.open = 0
        self.gone = asyncio.Event()
        self.sockjs = SockJS(lambda session: Echo(self, session), **options)  # type: ignore[arg-type]
        self.url = ""
        self.port = 0

    async def start(self) -> web.AppRunner:
        """Listens."""
        app = web.Application()
        app.add_routes(self.sockjs.routes("/s"))
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}/s"
        return runner


@pytest.fixture
async def options() -> dict[str, float]:
    """What the server is made with; tests override it by parametrising."""
    return {}


@pytest.fixture
async def server(options: dict[str, float]) -> AsyncIterator[Server]:
    """A running server."""
    running = Server(**options)
    runner = await running.start()
    yield running
    running.sockjs.close_all()
    await runner.cleanup()


async def test_greeting_and_info(server: Server, http: aiohttp.ClientSession) -> None:
    """The greeting page with and without slash, and what a client learns first."""
    for address in (server.url, server.url + "/"):
        reply = await http.get(address)
        assert (await reply.text(), reply.content_type) == ("Welcome to SockJS!\n", "text/plain")
    reply = await http.get(f"{server.url}/info?{'a' * 32}&t=123", headers=ORIGIN)
    info = await reply.json()
    assert isinstance(info.pop("entropy"), int)
    assert info == {"websocket": True, "cookie_needed": False, "origins": ["*:*"]}
    assert "no-store" in reply.headers["Cache-Control"]
    assert reply.headers["Access-Control-Allow-Origin"] == "https://evil.example"


async def test_the_iframe_page_loads_from_a_cdn(server: Server, http: aiohttp.ClientSession) -> None:
    """Any version's name gets it, cacheable for a year."""
    for name in ("iframe.html", "iframe-1.6.1.html"):
        reply = await http.get(f"{server.url}/{name}")
        assert "//cdn.jsdelivr.net/" in await reply.text()
        assert reply.headers["Cache-Control"] == "public, max-age=31536000"


@pytest.mark.parametrize("path", ["info", "000/abcdefgh/xhr", "000/abcdefgh/xhr_send"])
async def test_preflights_allow_everything(server: Server, http: aiohttp.ClientSession, path: str) -> None:
    """Any Origin, any header, with credentials."""
    headers = ORIGIN | {"Access-Control-Request-Headers": "x-a, x-b"}
    reply = await http.options(f"{server.url}/{path}", headers=headers)
    assert reply.status == 204
    assert reply.headers["Access-Control-Allow-Origin"] == "https://evil.example"
    assert reply.headers["Access-Control-Allow-Credentials"] == "true"
    assert reply.headers["Access-Control-Allow-Headers"] == "x-a, x-b"
    assert reply.headers["Access-Control-Allow-Methods"] == f"OPTIONS, {'GET' if path == 'info' else 'POST'}"


@pytest.mark.parametrize("headers", [{}, {"Origin": "null"}])
async def test_no_origin_means_any(server: Server, http: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    """Without an Origin the answer is `*`."""
    reply = await http.get(f"{server.url}/info", headers=headers)
    assert reply.headers["Access-Control-Allow-Origin"] == "*"


def address(server: Server, transport: str, session: str = "abcdefgh") -> str:
    """A transport's address, with a callback where one is needed."""
    query = "?c=_jp.abc" if transport in ("htmlfile", "jsonp") else ""
    return f"{server.url}/000/{session}/{transport}{query}"


async def receive(http: aiohttp.ClientSession, server: Server, transport: str) -> aiohttp.ClientResponse:
    """Opens a receiver."""
    method = "POST" if transport.startswith("xhr") else "GET"
    return await http.request(method, address(server, transport), headers=ORIGIN)


async def send(http: aiohttp.ClientSession, server: Server, *texts: str, session: str = "abcdefgh") -> int:
    """Sends messages; the reply's status."""
    reply = await http.post(
        f"{server.url}/000/{session}/xhr_send", data=json.dumps(texts), headers={"Content-Type": "text/plain"}
    )
    return reply.status


STREAMS = {
    "xhr_streaming": ("h" * 2048 + "\n", "o\n", 'a["<b>"]\n'),
    "eventsource": ("\r\n", "data: o\r\n\r\n", 'data: a["<b>"]\r\n\r\n'),
    "htmlfile": ("", '<script>\np("o");\n</script>\r\n', '<script>\np("a[\\"<b>\\"]");\n</script>\r\n'),
}


@pytest.mark.parametrize(("transport", "parts"), STREAMS.items(), ids=STREAMS)
async def test_streaming(
    server: Server, http: aiohttp.ClientSession, transport: str, parts: tuple[str, str, str]
) -> None:
    """A prelude, then each frame as it comes; the reply ends with the session."""
    prelude, opening, message = parts
    reply = await receive(http, server, transport)
    assert reply.headers["Access-Control-Allow-Origin"] == "https://evil.example"
    head = await reply.content.readuntil(opening.encode())
    assert head.decode().startswith(prelude)
    assert await send(http, server, "<b>") == 204
    assert (await reply.content.readuntil(message.encode())).decode() == message
    assert await send(http, server, "bye") == 204
    assert b"c[1," in await reply.content.read()


async def test_htmlfile_is_padded_and_calls_back(server: Server, http: aiohttp.ClientSession) -> None:
    """1 KiB at least before the first frame, and the browser's own function named."""
    reply = await receive(http, server, "htmlfile")
    head = await reply.content.readuntil(b'p("o")')
    assert len(head) > 1024
    assert b"parent._jp.abc" in head
    reply.close()


async def test_a_message_cannot_end_its_script(server: Server, http: aiohttp.ClientSession) -> None:
    """`</script>` in a message is broken up."""
    reply = await receive(http, server, "htmlfile")
    await reply.content.readuntil(b"</script>\r\n")
    await send(http, server, "</script>")
    assert b"<\\/script>" in await reply.content.readuntil(b"</script>\r\n")
    reply.close()


POLLS = {
    "xhr": ("o\n", 'a["1","2"]\n', 'c[1,"bye"]\n'),
    "jsonp": (
        '/**/_jp.abc("o");\r\n',
        '/**/_jp.abc("a[\\"1\\",\\"2\\"]");\r\n',
        '/**/_jp.abc("c[1,\\"bye\\"]");\r\n',
    ),
}


@pytest.mark.parametrize(("transport", "frames"), POLLS.items(), ids=POLLS)
async def test_polling(
    server: Server, http: aiohttp.ClientSession, transport: str, frames: tuple[str, str, str]
) -> None:
    """One frame a reply; what waits comes together; the close frame is given again."""
    opening, message, closing = frames
    assert await (await receive(http, server, transport)).text() == opening
    await send(http, server, "1", "2")
    assert await (await receive(http, server, transport)).text() == message
    await send(http, server, "bye")
    assert await (await receive(http, server, transport)).text() == closing
    assert await (await receive(http, server, transport)).text() == closing


@pytest.mark.parametrize("options", [{"response_limit": 40}])
@pytest.mark.parametrize("transport", STREAMS)
async def test_streams_rotate(server: Server, http: aiohttp.ClientSession, transport: str) -> None:
    """A full reply ends, and the next one goes on with the same session."""
    reply = await receive(http, server, transport)
    await reply.content.readuntil(b"o")
    await send(http, server, "x" * 40)
    assert b"xxx" in await reply.content.read()
    await send(http, server, "again")
    reply = await receive(http, server, transport)
    assert b"again" in await reply.content.readuntil(b"again")
    assert server.open == 1
    reply.close()


@pytest.mark.parametrize("options", [{"heartbeat": 0.001}])
@pytest.mark.parametrize("transport", HTTP_RECEIVERS)
async def test_heartbeats(server: Server, http: aiohttp.ClientSession, transport: str) -> None:
    """Silence is filled on each transport."""
    if transport in STREAMS:
        reply = await receive(http, server, transport)
        await reply.content.readuntil(STREAMS[transport][1].encode())
        assert b"h" in await reply.content.readany()
        return reply.close()
    await receive(http, server, transport)
    reply = await receive(http, server, transport)
    assert "h" in await reply.text()
    return None


@pytest.mark.parametrize("options", [{"orphan_timeout": 0.001}])
async def test_a_session_without_a_receiver_dies(server: Server, http: aiohttp.ClientSession) -> None:
    """After its time nobody is there to send to."""
    await receive(http, server, "xhr")
    await server.gone.wait()
    assert await send(http, server, "x") == 404


async def test_hanging_up_ends_the_session(server: Server, http: aiohttp.ClientSession) -> None:
    """An interrupted receiver takes its session along."""
    reply = await receive(http, server, "xhr_streaming")
    await reply.content.readuntil(b"o\n")
    reply.close()
    await server.gone.wait()
    assert (server.open, await send(http, server, "x")) == (0, 404)


@pytest.mark.parametrize("transport", ["xhr", "xhr_streaming"])
async def test_one_receiver_at_a_time(server: Server, http: aiohttp.ClientSession, transport: str) -> None:
    """The second is told, and the first goes on."""
    first = await receive(http, server, "xhr_streaming")
    await first.content.readuntil(b"o\n")
    second = await receive(http, server, transport)
    assert (await second.text()).endswith('c[2010,"Another connection still open"]\n')
    await send(http, server, "x")
    assert await first.content.readuntil(b"\n") == b'a["x"]\n'
    first.close()


@pytest.mark.parametrize("transport", ["htmlfile", "jsonp"])
@pytest.mark.parametrize("query", ["", "?c=", "?c=alert(1)", "?c=a%3Cb"])
async def test_callbacks_are_names(server: Server, http: aiohttp.ClientSession, transport: str, query: str) -> None:
    """No callback, or one that is code, is refused."""
    reply = await http.get(f"{server.url}/000/abcdefgh/{transport}{query}")
    assert reply.status == 500


SENT = {
    "nothing": ("", 500, "Payload expected."),
    "no JSON": ("[", 500, "Broken JSON encoding."),
    "no list": ('"x"', 500, "Broken JSON encoding."),
    "not strings": ("[1]", 500, "Broken JSON encoding."),
}


@pytest.mark.parametrize(("body", "status", "text"), SENT.values(), ids=SENT)
@pytest.mark.parametrize("transport", ["xhr_send", "jsonp_send"])
async def test_payloads_that_are_none(
    server: Server, http: aiohttp.ClientSession, transport: str, body: str, status: int, text: str
) -> None:
    """sockjs-go's own words."""
    await receive(http, server, "xhr")
    reply = await http.post(f"{server.url}/000/abcdefgh/{transport}", data=body.encode())
    assert (reply.status, await reply.text()) == (status, text)


async def test_jsonp_sends_by_form(server: Server, http: aiohttp.ClientSession) -> None:
    """A form's `d`, or the bare body; both answer ok."""
    await receive(http, server, "jsonp")
    target = f"{server.url}/000/abcdefgh/jsonp_send"
    form = await http.post(target, data={"d": '["a+b","é"]'})
    bare = await http.post(target, data=b'["c"]', headers={"Content-Type": "text/plain"})
    assert (await form.text(), await bare.text()) == ("ok", "ok")
    assert await (await receive(http, server, "xhr")).text() == 'a["a+b","\\u00e9","c"]\n'


async def test_websocket(server: Server, http: aiohttp.ClientSession) -> None:
    """Frames both ways, whatever the Origin says; a client's close ends the session."""
    async with http.ws_connect(f"{server.url}/000/abcdefgh/websocket?{'a' * 32}", headers=ORIGIN) as socket:
        assert await socket.receive_str() == "o"
        await socket.send_str("")
        await socket.send_bytes(b"ignored")
        await socket.send_str('["1","2"]')
        assert await socket.receive_str() == 'a["1","2"]'
    await server.gone.wait()
    assert server.open == 0


async def test_websockets_do_not_share_sessions(server: Server, http: aiohttp.ClientSession) -> None:
    """The same name twice is two sessions."""
    target = f"{server.url}/000/abcdefgh/websocket"
    async with http.ws_connect(target) as first, http.ws_connect(target) as second:
        assert [await first.receive_str(), await second.receive_str()] == ["o", "o"]
        assert server.open == 2


@pytest.mark.parametrize("options", [{"heartbeat": 0.001}])
async def test_websocket_heartbeat(server: Server, http: aiohttp.ClientSession) -> None:
    """A frame of SockJS, not a ping."""
    async with http.ws_connect(f"{server.url}/000/abcdefgh/websocket") as socket:
        assert [await socket.receive_str() for _ in range(3)] == ["o", "h", "h"]


async def test_websocket_needs_an_upgrade(server: Server, http: aiohttp.ClientSession) -> None:
    """A plain GET is told so."""
    reply = await http.get(f"{server.url}/000/abcdefgh/websocket")
    assert (reply.status, await reply.text()) == (400, 'Can "Upgrade" only to "WebSocket".')


HANDSHAKE = (
    b"GET /s/000/abcdefgh/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


def client_frame(text: str) -> bytes:
    """A text frame as a client sends it, masked with zeros; up to 125 bytes."""
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text.encode()


async def test_websocket_ends_by_dropping_tcp(server: Server) -> None:
    """After the `c[...]` frame comes the end of the stream, and no websocket Close frame; never compressed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HANDSHAKE)
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head
    assert b"Extensions" not in head
    assert await reader.readexactly(3) == b"\x81\x01o"
    writer.write(client_frame('["bye"]'))
    assert await reader.read() == b'\x81\x0ac[1,"bye"]'
    writer.close()
    assert server.open == 0


@pytest.mark.parametrize("text", ["[", "{}", "[1]"])
async def test_websocket_hangs_up_on_nonsense(server: Server, text: str) -> None:
    """A payload that is not a list of strings ends the connection without a word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HANDSHAKE + client_frame(text))
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.read() in (b"", b"\x81\x01o")
    writer.close()
    await server.gone.wait()


async def test_close_all_ends_every_session(server: Server, http: aiohttp.ClientSession) -> None:
    """Whatever carries it."""
    stream = await receive(http, server, "xhr_streaming")
    await stream.content.readuntil(b"o\n")
    async with http.ws_connect(f"{server.url}/000/other/websocket") as socket:
        assert await socket.receive_str() == "o"
        server.sockjs.close_all()
        assert await socket.receive_str() == 'c[3000,"Go away!"]'
    assert b"c[3000" in await stream.content.read()
    assert server.open == 0
