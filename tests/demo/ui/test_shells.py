"""Shells from the API's id to the terminal, over SockJS' websocket."""

import json
from typing import Any

import aiohttp
import pytest

from oidcgate.demo.ui import DemoUI

from .conftest import NOW, Clock, StartUI

CART = "cart-7d9f5c8b6d-x2x7k"


async def offer(http: aiohttp.ClientSession, ui: DemoUI, headers: dict[str, str]) -> str:
    """A new shell's id."""
    reply = await http.get(f"{ui.url}/api/v1/pod/shop/{CART}/shell/cart", headers=headers)
    return str((await reply.json())["id"])


class Browser:
    """What the page does with a websocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, message: Any) -> None:
        """Sends one message, as JSON in a string in a list."""
        text = message if isinstance(message, str) else json.dumps(message)
        await self.socket.send_str(json.dumps([text]))

    async def frame(self) -> str:
        """The next frame."""
        return str(await self.socket.receive_str())

    async def message(self) -> Any:
        """The next message that came alone in its frame."""
        frame = await self.frame()
        assert frame.startswith("a")
        (text,) = json.loads(frame[1:])
        return json.loads(text)


async def browser(http: aiohttp.ClientSession, ui: DemoUI, shell_id: str) -> Browser:
    """A websocket on which the `o` has come."""
    opened = Browser(await http.ws_connect(f"{ui.url}/api/sockjs/123/abcdefgh/websocket?{shell_id}"))
    assert await opened.frame() == "o"
    return opened


async def bound(http: aiohttp.ClientSession, ui: DemoUI, headers: dict[str, str]) -> Browser:
    """A websocket with a shell on it, the prompt read."""
    shell_id = await offer(http, ui, headers)
    opened = await browser(http, ui, shell_id)
    await opened.send({"Op": "bind", "SessionID": shell_id})
    assert await opened.message() == {"Op": "stdout", "Data": "cart:/app# "}
    return opened


async def test_a_shell_works(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """What is typed is echoed and run; the window's size is noted; the API's belief is known."""
    opened = await bound(http, ui, bob)
    await opened.send({"Op": "resize", "Cols": 132, "Rows": 43})
    await opened.send({"Op": "stdin", "Data": "whoami\r"})
    assert "bob@example.com" in (await opened.message())["Data"]
    (shell,) = ui.open_terminals
    assert (shell.cols, shell.rows, shell.opened_at) == (132, 43, NOW)
    assert (shell.place.namespace, shell.place.pod, shell.place.username) == ("shop", CART, "bob@example.com")
    assert shell.id not in repr(shell)
    await opened.socket.close()
    await ui.wait_for(lambda seen: seen.open_terminals == [])


async def test_exit_ends_the_session(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """The process's end is the session's."""
    opened = await bound(http, ui, bob)
    await opened.send({"Op": "stdin", "Data": "exit\r"})
    assert (await opened.message())["Data"] == "exit\r\n"
    assert await opened.frame() == 'c[1,"Process exited"]'
    assert ui.open_terminals == []


async def test_a_shell_outlives_its_token(
    ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str], clock: Clock
) -> None:
    """Nothing here cuts a shell when the token expires."""
    opened = await bound(http, ui, bob)
    clock.now = NOW + 3600
    await opened.send({"Op": "stdin", "Data": "pwd\r"})
    assert "/app" in (await opened.message())["Data"]
    assert len(ui.open_terminals) == 1


async def test_keys_without_an_echo_send_nothing(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """Empty output is not a message; unknown operations are passed over."""
    opened = await bound(http, ui, bob)
    await opened.send({"Op": "stdin", "Data": "\x7f"})
    await opened.send({"Op": "dance"})
    await opened.send({"Op": "stdin", "Data": "x"})
    assert await opened.message() == {"Op": "stdout", "Data": "x"}


async def test_an_id_is_good_once(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """The second to bind it is refused, the first keeps it."""
    shell_id = await offer(http, ui, bob)
    first, second = await browser(http, ui, shell_id), await browser(http, ui, shell_id)
    for opened in (first, second):
        await opened.send({"Op": "bind", "SessionID": shell_id})
    assert (await first.message())["Op"] == "stdout"
    assert await second.frame() == 'c[2,"no such terminal session"]'


REFUSED = {
    "an unknown id": ({"Op": "bind", "SessionID": "0" * 32}, "no such terminal session"),
    "no id": ({"Op": "bind"}, "no such terminal session"),
    "something before bind": ({"Op": "stdin", "Data": "x"}, "no such terminal session"),
    "no JSON": ("hello", "malformed message"),
    "no object": ("[]", "malformed message"),
    "no operation": ({}, "malformed message"),
}


@pytest.mark.parametrize(("message", "reason"), REFUSED.values(), ids=REFUSED)
async def test_what_is_not_a_bind_is_refused(
    ui: DemoUI, http: aiohttp.ClientSession, message: Any, reason: str
) -> None:
    """The session closes, and says why."""
    opened = await browser(http, ui, "x")
    await opened.send(message)
    assert await opened.frame() == f'c[2,"{reason}"]'


async def test_an_id_must_be_bound_in_time(start_ui: StartUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """After the bind window it is forgotten."""
    ui = await start_ui(bind_window=0)
    shell_id = await offer(http, ui, bob)
    opened = await browser(http, ui, shell_id)
    await opened.send({"Op": "bind", "SessionID": shell_id})
    assert await opened.frame() == 'c[2,"no such terminal session"]'


async def test_deleting_the_pod_ends_its_shells(ui: DemoUI, http: aiohttp.ClientSession, admin: dict[str, str]) -> None:
    """A toast says so, then the session closes; shells elsewhere stay."""
    opened = await bound(http, ui, admin)
    await http.delete(f"{ui.url}/api/v1/pod/payments/ledger-6f8b7c9d55-r7vbc", headers=admin)
    assert len(ui.open_terminals) == 1
    await http.delete(f"{ui.url}/api/v1/pod/shop/{CART}", headers=admin)
    assert await opened.message() == {"Op": "toast", "Data": f"pod {CART} was deleted"}
    assert await opened.frame() == 'c[2,"container is gone"]'
    assert ui.open_terminals == []


async def test_stopping_forgets_unbound_ids(
    start_ui: StartUI, http: aiohttp.ClientSession, bob: dict[str, str]
) -> None:
    """An id does not survive a restart."""
    ui = await start_ui()
    shell_id = await offer(http, ui, bob)
    await ui.stop()
    await ui.start()
    opened = await browser(http, ui, shell_id)
    await opened.send({"Op": "bind", "SessionID": shell_id})
    assert (await opened.frame()).startswith("c[2,")
