"""An issuer of a few lines, tokens signed with its key, and a started demo UI."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from oidcgate.demo.ui import DemoUI

AUDIENCE = "oidcgate"
NOW = 1_790_000_000.0  # seconds since the epoch, by the tests' clock


@dataclass
class Clock:
    """A clock that moves only when told to."""

    now: float = NOW

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


@dataclass
class TinyIssuer:
    """Serves discovery and keys; signs whatever it is given."""

    keys: dict[str, rsa.RSAPrivateKey]
    url: str = ""
    published: list[str] = field(default_factory=lambda: ["first"])
    fetches: int = 0
    status: int = 200
    metadata: dict[str, Any] = field(default_factory=dict)
    document: Any = None

    def token(self, *, kid: str | None = "first", key: str = "first", **claims: Any) -> str:
        """An ID token; claims given as None are left out."""
        full = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "subject-1",
            "email": "alice@example.com",
            "email_verified": True,
            "groups": ["platform-admins"],
            "iat": int(NOW) - 10,
            "exp": int(NOW) + 600,
        } | claims
        present = {name: value for name, value in full.items() if value is not None}
        return jwt.encode(present, self.keys[key], algorithm="RS256", headers={"kid": kid} if kid else None)

    async def discovery(self, _request: web.Request) -> web.Response:
        """The metadata."""
        metadata = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"} | self.metadata
        return web.json_response(metadata if self.document is None else self.document)

    async def jwks(self, _request: web.Request) -> web.Response:
        """The published keys."""
        self.fetches += 1
        algorithm = jwt.algorithms.RSAAlgorithm
        keys = [
            json.loads(algorithm.to_jwk(self.keys[kid].public_key())) | {"kid": kid, "use": "sig", "alg": "RS256"}
            for kid in self.published
        ]
        return web.json_response({"keys": keys}, status=self.status)


@pytest.fixture(scope="session")
def rsa_keys() -> dict[str, rsa.RSAPrivateKey]:
    """Two keys, made once: the issuer's first, and the one it rotates to (or an impostor's)."""
    return {name: rsa.generate_private_key(public_exponent=65537, key_size=2048) for name in ("first", "second")}


@pytest.fixture
def clock() -> Clock:
    """The clock of the UI under test."""
    return Clock()


@pytest.fixture
async def issuer(rsa_keys: dict[str, rsa.RSAPrivateKey]) -> AsyncIterator[TinyIssuer]:
    """A running issuer."""
    tiny = TinyIssuer(rsa_keys)
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", tiny.discovery)
    app.router.add_get("/keys", tiny.jwks)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    tiny.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield tiny
    await runner.cleanup()


async def raw(ui: DemoUI, request: str) -> bytes:
    """The whole answer to a request written by hand, lines ended by LF here and by CR LF on the wire."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ui.port)
    writer.write(request.replace("\n", "\r\n").encode("latin-1"))
    answer = await reader.read()
    writer.close()
    return answer


StartUI = Callable[..., Any]


@pytest.fixture
async def start_ui(issuer: TinyIssuer, clock: Clock) -> AsyncIterator[StartUI]:
    """Starts demo UIs with the given options, and stops them all at the end."""
    started: list[DemoUI] = []

    async def start(**options: Any) -> DemoUI:
        ui = DemoUI(issuer.url, AUDIENCE, **({"clock": clock, "record": True, "tick": 0.001} | options))
        await ui.start()
        started.append(ui)
        return ui

    yield start
    for ui in started:
        await ui.stop()


@pytest.fixture
async def ui(start_ui: StartUI) -> DemoUI:
    """A started demo UI that records, whose log has a line every millisecond."""
    return await start_ui()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that does not unpack what it gets."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture
def admin(issuer: TinyIssuer) -> dict[str, str]:
    """The header of a platform admin."""
    return {"Authorization": f"Bearer {issuer.token()}"}


@pytest.fixture
def bob(issuer: TinyIssuer) -> dict[str, str]:
    """The header of somebody of team-shop."""
    token = issuer.token(email="bob@example.com", groups=["team-shop"], sub="subject-2")
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def carol(issuer: TinyIssuer) -> dict[str, str]:
    """The header of somebody without groups."""
    token = issuer.token(email="carol@example.com", groups=None, sub="subject-3")
    return {"Authorization": f"Bearer {token}"}
