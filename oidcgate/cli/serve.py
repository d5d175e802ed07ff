"""`oidcgate serve`: run the gate until a signal ends it."""

import asyncio
import gc
import logging
import signal
from pathlib import Path

import uvloop

from oidcgate.cli.check import load_checked
from oidcgate.config import Config
from oidcgate.web.logs import set_up_logging
from oidcgate.web.server import GateServer

log = logging.getLogger("oidcgate")

GC_THRESHOLDS = (20_000, 20, 50)  # a request leaves no cycle behind, so young objects need not be searched often


def serve(path: Path) -> int:
    """
    Run.

    Raises:
        ConfigError, StoreUnavailable: it cannot start.
    """
    config = load_checked(path)
    set_up_logging(form=config.log.format, level=config.log.level)
    uvloop.run(until_signal(config))
    return 0


async def until_signal(config: Config) -> None:
    """Start, wait for SIGTERM or SIGINT, drain."""
    server = GateServer(config)
    await server.start()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(
        signal.SIGHUP, log.warning, "this version does not reload; restart it to change its configuration"
    )
    where = ", ".join(str(address) for address in server.addresses)
    log.info("listening on %s for %s", where, ", ".join(site.origin for site in server.sites))
    await stopping.wait()
    log.info("draining")
    await server.stop()
