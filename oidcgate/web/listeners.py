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
                await (self._open_path(listen) if listen.path else self._open_port(listen))
            except OSError as error:
                raise unusable("listen", listen, error) from None

    def close(self) -> None:
        """Accept nobody new."""
        for server in self._servers:
            server.close()

    async def _open_path(self, listen: Listen) -> None:
        remove_stale_socket(Path(listen.path))
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.bind(listen.path)
            os.chmod(listen.path, SOCKET_MODE)
        except OSError:
            sock.close()
            raise
        await self._add(listen, sock=sock)

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


async def listen_admin(app: web.Application, text: str) -> tuple[web.AppRunner, Listen]:
    """
    Serve the admin listener.

    Returns:
        What to clean up, and where it listens, with the port that the system chose.

    Raises:
        ConfigError: the address cannot be used.
    """
    listen = parse_listen(text)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site: web.BaseSite
    if listen.path:
        remove_stale_socket(Path(listen.path))
        site = web.UnixSite(runner, listen.path)
    else:
        site = web.TCPSite(runner, listen.host, listen.port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise unusable("admin.listen", listen, error) from None
    return runner, listen if listen.path else Listen(listen.host, runner.addresses[0][1])


def unusable(key: str, listen: Listen, error: OSError) -> ConfigError:
    """An address that cannot be listened on."""
    return ConfigError([Problem(key, f"{listen}: {error.strerror or error}")])
