"""
An identity provider for the demo and the tests that answers as Dex v2.45.1 does, word for word.

Edge: aiohttp server.
Everything is kept in memory and outlives `DemoIssuer.stop`, so an outage can be played through; `forget`
plays a restart of a Dex with memory storage. People, clients, keys and quirks can change at any time.
"""

import ssl

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from oidcgate.demo.issuer_device import Device
from oidcgate.demo.issuer_endpoints import Endpoints
from oidcgate.demo.issuer_grants import Codes, RefreshTokens
from oidcgate.demo.issuer_logout import Logout
from oidcgate.demo.issuer_model import DEMO_PEOPLE, Client, Person, Quirks
from oidcgate.demo.issuer_sessions import Sessions
from oidcgate.demo.issuer_state import IssuerState
from oidcgate.demo.issuer_tokens import Keyring

__all__ = ["DEMO_PEOPLE", "Client", "DemoIssuer", "Person", "Quirks"]

SHUTDOWN_LIMIT = 0.01  # seconds; an outage waits for nobody, but aiohttp takes 0 for no limit


class DemoIssuer(IssuerState):
    """The issuer with its sockets; see `IssuerState` for the arguments and for what tests can read."""

    _runner: web.AppRunner | None = None
    _port = 0
    _devices: Device | None = None

    def __repr__(self) -> str:
        return f"<DemoIssuer {self._origin or 'not started'}{self.path}>"

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        public_host: str = "localhost",
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """
        Listen, and from then on be known as `url`.

        Args:
            host: the address to listen on.
            port: 0 takes a free one the first time, and the same one after a `stop`.
            public_host: the host in `url`, which browser and gate must both reach.
            ssl_context: speak TLS; None speaks plain HTTP.
        """
        runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=SHUTDOWN_LIMIT)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port or self._port, ssl_context=ssl_context).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self._port = int(runner.addresses[0][1])
        self._origin = f"{'https' if ssl_context else 'http'}://{public_host}:{self._port}"

    async def stop(self) -> None:
        """Close the port and every connection, hanging requests included; all state is kept."""
        runner, self._runner = self._runner, None
        if runner:
            await runner.cleanup()

    def add_client(self, client: Client) -> None:
        """Register a client, or replace the one with its id."""
        self.clients[client.id] = client

    def replace_person(self, person: Person) -> None:
        """Add somebody, or change whoever has this ``user_id``; the next refresh shows it."""
        self.remove_person(person.user_id)
        self.people[person.login] = person

    def remove_person(self, user_id: str) -> None:
        """Delete an account; its refresh tokens then fail with 500, as a connector's failure does."""
        self.people = {login: p for login, p in self.people.items() if p.user_id != user_id}

    def rotate_keys(self, key: rsa.RSAPrivateKey | None = None) -> None:
        """Sign with a new key at once, without publishing it first, as Dex does every six hours."""
        self.keys.rotate(key)

    def forget(self) -> None:
        """Lose keys, codes, refresh tokens and sessions, as Dex with memory storage does at a restart."""
        self.keys = Keyring(None, clock=self.now, keep=self.id_token_life)
        self.codes = Codes(self.now)
        self.refresh_tokens = RefreshTokens(self.now, self.refresh_tokens.reuse_interval)
        self.sessions = Sessions()
        self.waiting.clear()
        self._device().forget()

    def release(self) -> None:
        """Let hanging requests go on; the same as ``quirks.release()``."""
        self.quirks.release()

    async def end_sessions(self, login: str) -> list[dict[str, int | None]]:
        """
        Sign somebody out from the issuer's side.

        Returns:
            For each session the answers of its clients' back channels, as `Logout.end` gives them.
        """
        logout = Logout(self)
        return [await logout.end(session) for session in self.sessions.of(self.people[login].user_id)]

    def _device(self) -> Device:
        """One for the issuer's whole life."""
        self._devices = self._devices or Device(self)
        return self._devices

    def _app(self) -> web.Application:
        app = web.Application()
        app.add_routes([*Endpoints(self).routes(), *self._device().routes(), *Logout(self).routes()])
        return app
