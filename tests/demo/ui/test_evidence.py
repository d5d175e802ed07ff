"""What the UI can say of the requests that reached it."""

import asyncio

import aiohttp
import pytest

from oidcgate.demo.ui import DemoUI
from oidcgate.demo.ui.evidence import unverified_exp

from .conftest import NOW, StartUI, TinyIssuer, raw


async def test_arrivals_keep_target_and_headers_as_they_came(ui: DemoUI, issuer: TinyIssuer) -> None:
    """The target byte for byte, the headers in their own case and order, the bearer's exp."""
    target = "/api/v1/pod/%20?itemsPerPage=10&sortBy=d,creationTimestamp&x"
    token = issuer.token()
    lines = ("X-oNe: 1", "Host: ui", f"authorization: Bearer {token}", "x-One: 2", "Connection: close")
    await raw(ui, f"GET {target} HTTP/1.1\n" + "\n".join(lines) + "\n\n")
    arrival = ui.arrivals[-1]
    assert (arrival.method, arrival.raw_target) == ("GET", target)
    assert [f"{name.decode()}: {value.decode()}" for name, value in arrival.headers] == list(lines)
    assert arrival.values("x-one") == ["1", "2"]
    assert (arrival.at, arrival.token_exp, arrival.websocket) == (NOW, NOW + 600, False)


async def test_unknown_paths_and_websockets_arrive_too(ui: DemoUI, http: aiohttp.ClientSession) -> None:
    """Nothing escapes, and a websocket is marked."""
    await http.get(f"{ui.url}/nowhere")
    async with http.ws_connect(f"{ui.url}/api/sockjs/000/abcdefgh/websocket"):
        pass
    assert [(arrival.websocket, arrival.token_exp) for arrival in ui.arrivals] == [(False, None), (True, None)]


async def test_nothing_is_kept_unless_asked(start_ui: StartUI, http: aiohttp.ClientSession) -> None:
    """Without `record` there are no arrivals."""
    ui = await start_ui(record=False)
    await http.get(f"{ui.url}/")
    assert len(ui.arrivals) == 0


async def test_expired_tokens_are_counted(ui: DemoUI, http: aiohttp.ClientSession, issuer: TinyIssuer) -> None:
    """Each request with a bearer past its exp counts, signed by whomever; good and unreadable ones do not."""
    for token in (issuer.token(), issuer.token(exp=int(NOW)), issuer.token(exp=1, key="second"), "rubbish"):
        await http.get(f"{ui.url}/", headers={"Authorization": f"Bearer {token}"})
    assert ui.expired_tokens == 2


async def test_wait_for_returns_when_it_has_happened(ui: DemoUI, http: aiohttp.ClientSession) -> None:
    """A waiter wakes by what arrives, and by what ends."""
    waiter = asyncio.create_task(ui.wait_for(lambda seen: len(seen.arrivals) == 2))
    await http.get(f"{ui.url}/")
    await http.get(f"{ui.url}/")
    await waiter
    await ui.wait_for(lambda seen: seen.in_flight == 0)


async def test_wait_for_gives_up(ui: DemoUI) -> None:
    """What does not happen in time is a TimeoutError."""
    with pytest.raises(TimeoutError):
        await ui.wait_for(lambda _seen: False, timeout=0.001)


async def test_a_client_that_hangs_up_ends_its_request(
    ui: DemoUI, http: aiohttp.ClientSession, admin: dict[str, str]
) -> None:
    """A slow request does not outlive its connection."""
    task = asyncio.create_task(http.get(f"{ui.url}/api/v1/slow?seconds=3600", headers=admin))
    await ui.wait_for(lambda seen: seen.in_flight == 1)
    task.cancel()
    await ui.wait_for(lambda seen: seen.in_flight == 0)


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.e30.c", "a.bnVsbA.c", "a.W10.c", "a.é.c", "a.AAAAA.c"])
def test_what_has_no_exp(token: str) -> None:
    """Anything that is not a JWT with an exp has none."""
    assert unverified_exp(token) is None
