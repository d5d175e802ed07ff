"""
Keeps requests from a UI that would ignore whose they are.

Edge by its clock. Asked before the first request, and again every minute while it matters.
"""

import logging
import time
from collections.abc import Callable

from oidcgate.errors import UpstreamError
from oidcgate.net.probe import ignores_bearer
from oidcgate.net.upstream import UpstreamPools

log = logging.getLogger("oidcgate.guard")

ASK_AGAIN = 60.0  # seconds after a good answer
ASK_SOON = 5.0  # seconds after a bad one


class UpstreamIgnoresBearer(UpstreamError):
    """The UI would act for everybody as itself."""

    status = 503
    public = "The application behind this address would ignore who you are, so nothing is passed to it."


class Guard:
    """One site's verdict on its UI; only UIs that can ignore the bearer have one."""

    def __init__(self, pools: UpstreamPools, *, on_closed: Callable[[], None], clock: Callable[[], float] = time.time):
        self._addresses = [pool.address for pool in pools.pools if not pool.address.secure]
        self._on_closed = on_closed
        self._clock = clock
        self._wrong: str | None = "it was not asked yet"
        self._ask_at = 0.0

    async def check(self) -> None:
        """
        Pass, or refuse.

        Raises:
            UpstreamIgnoresBearer: nothing may be passed to this UI now.
        """
        if self._clock() >= self._ask_at:
            await self._ask()
        if self._wrong is not None:
            raise UpstreamIgnoresBearer(self._wrong)

    async def look_again(self) -> None:
        """Once a second: an open way is asked about again in time, also when only quick requests use it."""
        if self._wrong is None and self._clock() >= self._ask_at:
            await self._ask()

    async def _ask(self) -> None:
        answers = [await ignores_bearer(address) for address in self._addresses]
        wrong = next((answer for answer in answers if answer is not None), None)
        self._ask_at = self._clock() + (ASK_SOON if wrong else ASK_AGAIN)
        if wrong is not None and wrong != self._wrong:
            log.error("the Dashboard is kept from requests: %s", wrong)
        self._wrong = wrong
        if wrong is not None:
            self._on_closed()
