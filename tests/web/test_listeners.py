"""What a gate listens on."""

import asyncio
import socket
from pathlib import Path

import pytest

from oidcgate.errors import ConfigError
from oidcgate.web.listeners import ADMIN_CONNECTIONS
from oidcgate.web.server import GateServer
from tests.support.browser import NAVIGATION
from tests.support.raw import fetch, request
from tests.web.test_server import settings


async def test_a_gate_listens_where_it_is_told(tmp_path: Path) -> None:
    """Several addresses, a Unix socket among them, also when a killed process left one behind."""
    path = tmp_path / "gate.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    gate = GateServer(settings(tmp_path, listen=["127.0.0.1:0", f"unix:{path}"]), access_descriptor=None)
    await gate.start()
    try:
        assert gate.addresses[0].port
        assert path.stat().st_mode & 0o777 == 0o660
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request("/", host="localhost:8080", headers={**NAVIGATION, "Connection": "close"}))
        data = await reader.read()
        assert data.startswith(b"HTTP/1.1 302 ")
        writer.close()
        await writer.wait_closed()
    finally:
        await gate.stop()


@pytest.mark.parametrize("name", ["listen", "admin"])
async def test_an_address_that_is_taken(tmp_path: Path, name: str) -> None:
    """A configuration error that names the key."""
    taken = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    more = {"listen": [address]} if name == "listen" else {"admin": {"listen": address}}
    gate = GateServer(settings(tmp_path, **more), access_descriptor=None)
    with pytest.raises(ConfigError) as caught:
        await gate.start()
    assert caught.value.problems[0].path == ("listen" if name == "listen" else "admin.listen")
    await gate.stop()
    taken.close()


async def test_a_file_that_is_no_socket_is_kept(tmp_path: Path) -> None:
    """Only a socket that was left behind is removed."""
    path = tmp_path / "precious"
    path.write_text("data")
    gate = GateServer(settings(tmp_path, listen=[f"unix:{path}"]), access_descriptor=None)
    with pytest.raises(ConfigError):
        await gate.start()
    await gate.stop()
    assert path.read_text() == "data"


async def test_an_admin_socket_that_was_left_behind(tmp_path: Path) -> None:
    """It is replaced, as a public one is."""
    path = tmp_path / "admin.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    gate = GateServer(settings(tmp_path, admin={"listen": f"unix:{path}"}), access_descriptor=None)
    await gate.start()
    try:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request("/livez", host="x", headers={"Connection": "close"}))
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()
    finally:
        await gate.stop()


async def test_connections_to_the_admin_listener_are_few(tmp_path: Path) -> None:
    """One too many takes the place of the oldest, so that whoever hoards them keeps no probe out."""
    gate = GateServer(settings(tmp_path, admin={"listen": "127.0.0.1:0"}), access_descriptor=None)
    await gate.start()
    assert gate.admin_address is not None
    hoarded = []
    try:
        for _ in range(ADMIN_CONNECTIONS + 5):
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.admin_address.port)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ")
            hoarded.append((reader, writer))
        assert (await fetch(gate.admin_address.port, request("/livez", host="localhost"))).status == 200
        oldest = [await asyncio.wait_for(reader.read(), 5) for reader, _ in hoarded[:6]]
        assert oldest == [b""] * 6
        assert not hoarded[6][0].at_eof()
    finally:
        for _, writer in hoarded:
            writer.close()
        await gate.stop()


async def test_a_head_without_an_end_at_the_admin_listener(tmp_path: Path) -> None:
    """It is refused before it takes much memory."""
    gate = GateServer(settings(tmp_path, admin={"listen": "127.0.0.1:0"}), access_descriptor=None)
    await gate.start()
    assert gate.admin_address is not None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.admin_address.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100)
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.0 400 ")
        writer.close()
    finally:
        await gate.stop()
