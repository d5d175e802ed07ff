"""
What the gate needs of the machine that it runs on: limits, certificates, sockets, libraries that fit.

Edge: the operating system.
"""

import contextlib
import os
import resource
import ssl
import sys
from pathlib import Path

from oidcgate.config.model import Config
from oidcgate.errors import ConfigError, Problem

BACKLOG = 2048
TLS_HANDSHAKE = 5.0  # seconds; until it is over, a connection counts against no limit of ours


def remove_stale_socket(path: Path) -> None:
    """A socket that a killed process left behind would keep us from listening."""
    if path.is_socket():
        path.unlink()


def server_tls(config: Config) -> ssl.SSLContext | None:
    """
    The public listener's certificate; only http/1.1 is offered.

    Raises:
        ConfigError: it does not load.
    """
    if config.tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(config.tls.cert_file, config.tls.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([Problem("tls.cert_file", str(error))]) from None
    return context


def handshake_limit(tls: ssl.SSLContext | None) -> float | None:
    """Seconds for a TLS handshake; asyncio wants None where there is none."""
    return TLS_HANDSHAKE if tls is not None else None


def raise_file_limit() -> None:
    """Each browser takes two descriptors: use all that the system grants."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_runtime() -> list[Problem]:
    """What is wrong with the libraries this runs on."""
    from aiohttp import http_parser

    if os.environ.get("AIOHTTP_NO_EXTENSIONS") or http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        return [
            Problem(
                "",
                "aiohttp runs with its Python parser, which is slow and less strict; "
                "unset AIOHTTP_NO_EXTENSIONS and install a wheel with C extensions",
            )
        ]
    if sys.flags.optimize:
        return [Problem("", "python -O removes checks; run without it")]
    return []
