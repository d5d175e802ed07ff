"""`oidcgate serve`: run the gate until a signal ends it."""

from pathlib import Path

import uvloop

from oidcgate.cli.check import load_checked
from oidcgate.web.logs import set_up_logging
from oidcgate.web.master import Master
from oidcgate.web.worker import run_worker


def serve(path: Path) -> int:
    """
    Run a master and its workers.

    Raises:
        ConfigError, StoreUnavailable: it cannot start.
    """
    config = load_checked(path)
    set_up_logging(form=config.log.format, level=config.log.level)
    return uvloop.run(Master(lambda: load_checked(path)).run())


def worker(control: int, listen: list[int]) -> int:
    """Run a worker on descriptors that the master handed down."""
    return uvloop.run(run_worker(control, listen))
