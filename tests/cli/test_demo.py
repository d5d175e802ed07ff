"""`oidcgate demo`: the whole story in one process."""

import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oidcgate.cli.demo import Demo, story
from oidcgate.demo.issuer import DEMO_PEOPLE
from oidcgate.errors import ConfigError
from tests.cli.support import fetch, free_ports, is_free, ran, started


async def test_demo() -> None:
    """It prints the address and the logins, answers on all three ports, and leaves nothing behind on Ctrl-C."""
    port = free_ports(3)
    async with started("demo", "--port", str(port)) as program:
        await program.line(f"Open  http://localhost:{port}$")
        for person in DEMO_PEOPLE:
            await program.line(rf"{person.login} +password {person.password}")
        await program.line("Ctrl-C ends it")
        assert (await fetch(port, "/", f"localhost:{port}")).startswith("HTTP/1.1 401 ")
        issuer = f"localhost:{port + 1}"
        assert "200 OK" in await fetch(port + 1, "/dex/.well-known/openid-configuration", issuer)
        assert (await fetch(port + 2, "/", f"localhost:{port + 2}")).startswith("HTTP/1.1 ")
        code, errors = await program.end(signal.SIGINT)
    assert (code, errors) == (0, "bye\n")
    assert all(is_free(each) for each in range(port, port + 3))
    assert "Traceback" not in program.output


@pytest.mark.parametrize("offset", [0, 1, 2], ids=["gate", "issuer", "ui"])
async def test_port_taken(offset: int) -> None:
    """Whichever of its ports somebody else has is named, and the way out; exit code 2, no traceback, nothing left."""
    port = free_ports(3)
    with socket.create_server(("127.0.0.1", port + offset)):
        code, _, errors = await ran("demo", "--port", str(port))
    assert code == 2
    assert errors.splitlines()[0] == "1 problem in the configuration:"
    assert errors.splitlines()[1].startswith("  --port: ")
    assert str(port + offset) in errors.splitlines()[1]
    assert "make demo PORT=" in errors
    assert "address already in use" in errors.lower()
    assert "Traceback" not in errors


async def test_issuer_refused() -> None:
    """A real issuer by http and off this machine is refused as in any configuration."""
    code, _, errors = await ran("demo", "--port", str(free_ports(3)), "--issuer", "http://dex.example.com")
    assert code == 2
    assert "provider.issuer: http is for issuers on this machine only" in errors


async def test_python_parser() -> None:
    """aiohttp's slower, less strict parser is refused."""
    code, output, errors = await ran("demo", AIOHTTP_NO_EXTENSIONS="1")
    assert (code, output) == (2, "")
    assert "install a wheel with C extensions" in errors


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[Demo]:
    """A demo before somebody's own issuer, which need not be there at the start."""
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("s3cret")
    demo = Demo(port=free_ports(3), issuer="http://localhost:9", client_id="gate", secret_file=secret, folder=tmp_path)
    await demo.start()
    yield demo
    await demo.stop()


async def test_own_issuer_that_does_not_answer(real: Demo) -> None:
    """The story begins with it, and goes on: the gate tries again."""
    trouble = await real.issuer_trouble()
    assert trouble is not None
    assert "http://localhost:9" in trouble or "discovery" in trouble
    assert story(real, trouble).index(trouble) < story(real, trouble).index(real.url)


async def test_own_issuer(real: Demo) -> None:
    """With a real issuer there is no demo issuer, and the story names no logins of it."""
    assert real.issuer is None
    assert is_free(real.port + 1)
    assert real.gate is not None
    assert real.gate.config.provider.issuer == "http://localhost:9"
    assert real.gate.config.provider.client_id == "gate"
    told = story(real)
    assert f"Open  {real.url}" in told
    assert "password" not in told
    assert "Sign in as" not in told


async def test_public_client(tmp_path: Path) -> None:
    """Without a secret's file a real issuer is used as a public client."""
    demo = Demo(port=free_ports(3), issuer="http://localhost:9", client_id="gate", secret_file=None, folder=tmp_path)
    await demo.start()
    assert demo.gate is not None
    assert demo.gate.config.provider.client_secret_file is None
    await demo.stop()


async def test_missing_secret(tmp_path: Path) -> None:
    """A secret's file that is not there is named; what had started stops."""
    demo = Demo(
        port=free_ports(3),
        issuer="http://localhost:9",
        client_id="gate",
        secret_file=tmp_path / "none",
        folder=tmp_path,
    )
    with pytest.raises(ConfigError, match=r"provider\.client_secret_file: .*none cannot be read"):
        await demo.start()
    await demo.stop()
    assert is_free(demo.port + 2)
