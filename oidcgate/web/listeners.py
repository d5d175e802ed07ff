"""
Opening what a gate listens on.

Edge: sockets. What cannot be opened is the configuration's mistake, told with the key that names it.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web

from oidcgate.config.addresses import Listen, parse_listen
from oidcgate.config.model import Config
from oidcgate.errors import ConfigError, Problem
from oidcgate.web.machine import BACKLOG, handshake_limit, remove_stale_socket, server_tls

SOCKET_MODE = 0o660  # the reverse proxy's group may connect
ADMIN_CONNECTIONS = 64  # probes, monitoring and operators need few
ADMIN_IDLE = 75.0  # seconds, also for a request's head to arrive
ADMIN_HEADERS = 48  # lines; what is kept of a head that never ends

Protocols = Callable[[], asyncio.Protocol]


class Listeners:
    """
    The public listeners of one process.

    Args:
        protocols: makes the protocol of a connection.

    Attributes:
        addresses: where they listen, with the ports that the system chose.
    """

    def __init__(self, config: Config, protocols: Protocols) -> None:
        self._config = config
        self._protocols = protocols
        self._servers: list[asyncio.Server] = []
        self.addresses: list[Listen] = []

    async def open(self, sockets: Sequence[socket.socket]) -> None:
        """
        Listen on sockets made elsewhere; without any, on the configured addresses.

        Raises:
            ConfigError: an address or certificate that cannot be used.
        """
        for sock in sockets:
            await self._add(Listen(*sock.getsockname()[:2]), sock=sock)
        for listen in () if sockets else self._config.listeners:
            try:
                await (self._add(listen, sock=bound_to(listen.path)) if listen.path else self._open_port(listen))
            except OSError as error:
                raise unusable("listen", listen, error) from None

    def close(self) -> None:
        """Accept nobody new."""
        for server in self._servers:
            server.close()

    async def _open_port(self, listen: Listen) -> None:
        tls = server_tls(self._config)
        server = await asyncio.get_running_loop().create_server(
            self._protocols,
            listen.host,
            listen.port,
            ssl=tls,
            backlog=BACKLOG,
            reuse_address=True,
            ssl_handshake_timeout=handshake_limit(tls),
        )
        self._servers.append(server)
        self.addresses.append(Listen(listen.host, server.sockets[0].getsockname()[1]))

    async def _add(self, listen: Listen, *, sock: socket.socket) -> None:
        tls = server_tls(self._config)
        loop, limit = asyncio.get_running_loop(), handshake_limit(tls)
        make = loop.create_unix_server if listen.path else loop.create_server
        server = await make(self._protocols, sock=sock, ssl=tls, backlog=BACKLOG, ssl_handshake_timeout=limit)
        self._servers.append(server)
        self.addresses.append(listen)


def bound_to(path: str) -> socket.socket:
    """
    A socket at a path, which what a killed process left there does not hinder.

    Raises:
        OSError: the path cannot be used.
    """
    remove_stale_socket(Path(path))
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
        os.chmod(path, SOCKET_MODE)
    except OSError:
        sock.close()
        raise
    return sock


def listening(listen: Listen, others: Sequence[socket.socket]) -> socket.socket:
    """
    A listening socket; further ones of an address share its port, perhaps only after a reload with more workers.

    Raises:
        OSError: the address cannot be used.
    """
    if listen.path:
        sock = bound_to(listen.path)
        sock.listen(BACKLOG)
        return sock
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    port = others[0].getsockname()[1] if others else listen.port
    if not others and port:
        # SO_REUSEPORT would quietly share the port with another gate: look first whether it is free.
        socket.create_server((listen.host, port), family=family).close()
    sock = socket.create_server((listen.host, port), family=family, reuse_port=True, backlog=BACKLOG)
    sock.setblocking(False)
    return sock


class AdminSite(web.BaseSite):
    """
    Where the admin listener listens. Whoever holds on to many connections, be it any pod of the cluster, must neither
    take the gate's memory nor keep the probes out: one too many takes the place of the oldest.
    """

    def __init__(self, runner: web.AppRunner, listen: Listen) -> None:
        super().__init__(runner)
        self._listen = listen

    @property
    def name(self) -> str:
        """As aiohttp calls it."""
        return str(self._listen)

    async def start(self) -> None:
        """
        Listen.

        Raises:
            OSError: the address cannot be used.
        """
        await super().start()
        loop, listen = asyncio.get_running_loop(), self._listen
        if listen.path:
            self._server = await loop.create_unix_server(self._protocol, listen.path)
        else:
            self._server = await loop.create_server(self._protocol, listen.host, listen.port)

    def _protocol(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server is not None
        connections = server.connections
        for oldest in connections[: max(0, len(connections) + 1 - ADMIN_CONNECTIONS)]:
            oldest.force_close()
        return server()


async def listen_admin(app: web.Application, text: str) -> tuple[web.AppRunner, Listen]:
    """
    Serve the admin listener.

    Returns:
        What to clean up, and where it listens, with the port that the system chose.

    Raises:
        ConfigError: the address cannot be used.
    """
    listen = parse_listen(text)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=ADMIN_IDLE, max_headers=ADMIN_HEADERS)
    await runner.setup()
    if listen.path:
        remove_stale_socket(Path(listen.path))
    try:
        await AdminSite(runner, listen).start()
    except OSError as error:
        await runner.cleanup()
        raise unusable("admin.listen", listen, error) from None
    return runner, listen if listen.path else Listen(listen.host, runner.addresses[0][1])


def unusable(key: str, listen: Listen, error: OSError) -> ConfigError:
    """An address that cannot be listened on."""
    return ConfigError([Problem(key, f"{listen}: {error.strerror or error}")])
