"""Long answers, long bodies, and the two test tools."""

import hashlib
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from oidcgate.demo.ui import DemoUI
from oidcgate.demo.ui.streams import BLOCK

from .conftest import NOW, Clock, TinyIssuer, raw

CART = "cart-7d9f5c8b6d-x2x7k"


async def test_a_log_that_follows(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """Ten lines of the past at once, then one after the other, each whole."""
    reply = await http.get(f"{ui.url}/api/v1/log/stream/shop/{CART}", headers=bob)
    assert (reply.status, reply.content_type) == (200, "text/plain")
    assert reply.headers["Transfer-Encoding"] == "chunked"
    times = [(await reply.content.readline()).decode().split(" ")[0] for _ in range(13)]
    assert times == sorted(set(times))
    assert times[9] == "2026-09-21T14:13:20Z"
    reply.close()
    await ui.wait_for(lambda seen: seen.in_flight == 0)


async def test_a_log_outlives_its_token(
    ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str], clock: Clock
) -> None:
    """Who was let in stays in: the token is looked at once."""
    reply = await http.get(f"{ui.url}/api/v1/log/stream/shop/{CART}", headers=bob)
    clock.now = NOW + 601
    for _ in range(15):
        assert await reply.content.readline()
    reply.close()


@pytest.mark.parametrize("size", [0, 1, len(BLOCK) - 1, len(BLOCK), 3 * len(BLOCK) + 7])
async def test_a_download_has_the_size_asked_for(
    ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str], size: int
) -> None:
    """Chunked, without a length, always the same text."""
    reply = await http.get(f"{ui.url}/api/v1/log/file/shop/{CART}?bytes={size}", headers=bob)
    assert "Content-Length" not in reply.headers
    assert await reply.read() == (BLOCK * 4)[:size]


async def test_a_download_has_a_size_of_its_own(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """64 KiB when nothing is asked for, as an attachment."""
    reply = await http.get(f"{ui.url}/api/v1/log/file/shop/{CART}", headers=bob)
    assert reply.headers["Content-Disposition"] == f'attachment; filename="{CART}.log"'
    assert len(await reply.read()) == 64 * 1024


async def test_a_download_that_nobody_reads_is_dropped(
    ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]
) -> None:
    """A terabyte waits for its reader, and ends with it."""
    reply = await http.get(f"{ui.url}/api/v1/log/file/shop/{CART}?bytes={1 << 40}", headers=bob)
    await reply.content.readexactly(1024)
    reply.close()
    await ui.wait_for(lambda seen: seen.in_flight == 0)


@pytest.mark.parametrize("query", ["bytes=-1", "bytes=x", "bytes=nan", "bytes=inf"])
async def test_a_size_that_is_none(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str], query: str) -> None:
    """A bad number is a 400."""
    reply = await http.get(f"{ui.url}/api/v1/log/file/shop/{CART}?{query}", headers=bob)
    assert reply.status == 400


@pytest.mark.parametrize("path", [f"log/stream/shop/{CART}", f"log/file/shop/{CART}"])
async def test_logs_are_guarded(ui: DemoUI, http: aiohttp.ClientSession, carol: dict[str, str], path: str) -> None:
    """Streaming or not, pods/log is asked for."""
    assert (await http.get(f"{ui.url}/api/v1/{path}", headers=carol)).status == 403
    assert (await http.get(f"{ui.url}/api/v1/{path}")).status == 401


async def pieces(number: int) -> AsyncIterator[bytes]:
    """A body in pieces of 1000 bytes."""
    for _ in range(number):
        yield b"y" * 1000


async def csrf(http: aiohttp.ClientSession, ui: DemoUI) -> dict[str, str]:
    """The header that an upload needs."""
    reply = await http.get(f"{ui.url}/api/v1/csrftoken/upload")
    return {"X-CSRF-TOKEN": (await reply.json())["token"]}


async def test_an_upload_is_counted(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """Chunked or with a length, bigger than any buffer; hashed when asked."""
    headers = bob | await csrf(http, ui)
    reply = await http.post(f"{ui.url}/api/v1/upload", data=pieces(3000), headers=headers)
    assert await reply.json() == {"bytes": 3_000_000}
    reply = await http.post(f"{ui.url}/api/v1/upload?hash=1", data=b"abc", headers=headers)
    assert await reply.json() == {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}


async def test_an_upload_is_left_packed(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """Content-Encoding is none of our business: the bytes count as they came."""
    headers = bob | await csrf(http, ui) | {"Content-Encoding": "gzip"}
    reply = await http.post(f"{ui.url}/api/v1/upload", data=b"not really", headers=headers)
    assert await reply.json() == {"bytes": 10}


async def test_an_upload_needs_a_token(ui: DemoUI, http: aiohttp.ClientSession) -> None:
    """A CSRF token is no identity."""
    assert (await http.post(f"{ui.url}/api/v1/upload", headers=await csrf(http, ui))).status == 401


async def events(reply: aiohttp.ClientResponse, number: int) -> list[tuple[bytes, dict[str, str]]]:
    """The first events of a stream as (id line, data)."""
    seen = []
    for _ in range(number):
        name, data, end = [await reply.content.readline() for _ in range(3)]
        assert end == b"\n"
        seen.append((name, json.loads(data.removeprefix(b"data: "))))
    return seen


async def test_events(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """An event stream of what happens where one may look."""
    reply = await http.get(f"{ui.url}/api/v1/events", headers=bob)
    assert (reply.content_type, reply.headers["Cache-Control"]) == ("text/event-stream", "no-cache")
    seen = await events(reply, 6)
    assert [name for name, _ in seen] == [b"id: %d\n" % number for number in range(6)]
    assert {event["namespace"] for _, event in seen} == {"shop"}
    reply.close()


async def test_events_for_those_who_see_nothing(ui: DemoUI, http: aiohttp.ClientSession, carol: dict[str, str]) -> None:
    """The stream runs, and tells nothing."""
    reply = await http.get(f"{ui.url}/api/v1/events", headers=carol)
    assert [event["reason"] for _, event in await events(reply, 2)] == ["Quiet", "Quiet"]
    reply.close()


async def test_slow(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """It answers after the time asked for, to those with a token."""
    reply = await http.get(f"{ui.url}/api/v1/slow?seconds=0.001", headers=bob)
    assert await reply.json() == {"slept": 0.001}
    assert (await http.get(f"{ui.url}/api/v1/slow")).status == 401


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_echo_shows_what_arrived(ui: DemoUI, method: str) -> None:
    """Method, raw target, headers as they were sent, the body's hash; for anybody and without CSRF."""
    target = "/api/v1/echo?a=%2F&b=x,y:z&c"
    lines = ("Host: ui", "X-oDD: caf\xe9", "Connection: close", "Content-Length: 4", "x-odd: 2")
    answer = await raw(ui, f"{method} {target} HTTP/1.1\n" + "\n".join(lines) + "\n\nbody")
    seen = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (seen["method"], seen["target"], seen["version"]) == (method, target, "1.1")
    assert [f"{name}: {value}" for name, value in seen["headers"]] == list(lines)
    assert (seen["bytes"], seen["sha256"]) == (4, hashlib.sha256(b"body").hexdigest())


async def test_echo_takes_a_token_of_half_a_megabyte(
    ui: DemoUI, http: aiohttp.ClientSession, issuer: TinyIssuer
) -> None:
    """Heads are limited as in Go, at 1 MiB."""
    token = issuer.token(groups=[f"group-{number}" for number in range(30_000)])
    reply = await http.get(f"{ui.url}/api/v1/echo", headers={"Authorization": f"Bearer {token}"})
    assert ["Authorization", f"Bearer {token}"] in (await reply.json())["headers"]
