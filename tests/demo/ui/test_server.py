"""Starting, stopping, and listening in several ways."""

import asyncio
import datetime
import ssl
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from oidcgate.demo.ui import DemoUI

from .conftest import AUDIENCE

CART = "cart-7d9f5c8b6d-x2x7k"


@pytest.fixture
def stopped() -> DemoUI:
    """A UI that has not been started; its issuer is not there."""
    return DemoUI("http://127.0.0.1:1", AUDIENCE)


async def test_a_restart_on_the_same_port(stopped: DemoUI, http: aiohttp.ClientSession) -> None:
    """Stopped it refuses connections; started again it is where it was."""
    await stopped.start()
    url, port = stopped.url, stopped.port
    assert url == f"http://127.0.0.1:{port}"
    assert (await http.get(url)).status == 200
    await stopped.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.get(url)
    await stopped.start(port=port)
    assert (stopped.url, (await http.get(url)).status) == (url, 200)
    await stopped.stop()


async def test_start_twice_is_a_mistake(stopped: DemoUI) -> None:
    """One UI listens in one place."""
    await stopped.start()
    with pytest.raises(RuntimeError):
        await stopped.start()
    await stopped.stop()
    await stopped.stop()


async def test_a_port_that_is_taken(stopped: DemoUI, ui: DemoUI, http: aiohttp.ClientSession) -> None:
    """The start fails, and can be tried again elsewhere."""
    with pytest.raises(OSError, match="in use"):
        await stopped.start(port=ui.port)
    await stopped.start()
    assert (await http.get(stopped.url)).status == 200
    await stopped.stop()


async def test_repr_says_where(stopped: DemoUI) -> None:
    """The address, or that there is none."""
    assert repr(stopped) == "<DemoUI stopped>"
    await stopped.start()
    assert repr(stopped) == f"<DemoUI {stopped.url}>"
    await stopped.stop()


async def test_a_unix_socket(stopped: DemoUI, tmp_path: Path) -> None:
    """It listens on a path as well."""
    path = tmp_path / "ui.sock"
    await stopped.start(path=path)
    assert (stopped.url, stopped.port) == (f"unix:{path}", 0)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        assert (await session.get("http://localhost/")).status == 200
    await stopped.stop()


async def test_ipv6_has_brackets(stopped: DemoUI) -> None:
    """The URL is one that clients take."""
    try:
        await stopped.start("::1")
    except OSError:
        pytest.skip("no IPv6 here")
    assert stopped.url == f"http://[::1]:{stopped.port}"
    await stopped.stop()


def certificate(folder: Path, key: rsa.RSAPrivateKey) -> Path:
    """A self-signed certificate and its key in one file."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "demo-ui")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "tls.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


async def test_tls(
    stopped: DemoUI, http: aiohttp.ClientSession, tmp_path: Path, rsa_keys: dict[str, rsa.RSAPrivateKey]
) -> None:
    """With a context of the caller's it speaks https."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path, rsa_keys["first"]))
    await stopped.start(ssl_context=context)
    assert stopped.url.startswith("https://127.0.0.1:")
    assert (await http.get(stopped.url, ssl=False)).status == 200
    await http.close()
    await stopped.stop()


async def test_stop_leaves_nothing_running(ui: DemoUI, http: aiohttp.ClientSession, bob: dict[str, str]) -> None:
    """Streams, slow requests, websockets and shells end at once, and no task is left."""
    before = len(asyncio.all_tasks())
    log = await http.get(f"{ui.url}/api/v1/log/stream/shop/{CART}", headers=bob)
    download = await http.get(f"{ui.url}/api/v1/log/file/shop/{CART}?bytes={1 << 40}", headers=bob)
    polling = await http.post(f"{ui.url}/api/sockjs/000/abcdefgh/xhr_streaming")
    socket = await http.ws_connect(f"{ui.url}/api/sockjs/000/other/websocket")
    slow = asyncio.create_task(http.get(f"{ui.url}/api/v1/slow?seconds=3600", headers=bob))
    await ui.wait_for(lambda seen: seen.in_flight == 5)
    await ui.stop()
    assert (ui.in_flight, ui.open_terminals) == (0, [])
    with pytest.raises(aiohttp.ClientError):
        await slow
    for reply in (log, download, polling):
        with pytest.raises(aiohttp.ClientError):
            await reply.content.read()
        reply.close()
    await socket.close()
    assert len(asyncio.all_tasks()) == before


async def test_an_issuer_that_is_not_there(stopped: DemoUI, http: aiohttp.ClientSession) -> None:
    """Starting does not need the issuer; every token is refused meanwhile."""
    await stopped.start()
    headers = {"Authorization": "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.e30.AAAA"}
    assert (await http.get(f"{stopped.url}/api/v1/me", headers=headers)).status == 401
    await stopped.stop()
