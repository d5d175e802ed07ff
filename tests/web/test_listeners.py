"""What a gate listens on."""

import asyncio
import socket
from pathlib import Path

import pytest

from oidcgate.errors import ConfigError
from oidcgate.web.server import GateServer
from tests.support.browser import NAVIGATION
from tests.support.raw import request
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
