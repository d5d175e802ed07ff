"""
The usual request, answered without aiohttp's request objects and tasks.

Edge: called by the connection with a parsed head. Taken is a GET or HEAD whose header block is known, whose session was
looked at a moment ago, and for which a connection to the UI is waiting: two table look-ups and one joined write.
Everything else is declined and goes through the five stops of ``Gate``; the verdict is the same, the way is shorter.
"""

import time
from collections.abc import Callable
from typing import cast

from aiohttp import HttpVersion11
from aiohttp.http_parser import RawRequestMessage

from oidcgate.errors import OidcgateError
from oidcgate.net.downstream import Downstream, Quick
from oidcgate.net.relay import Exchange, OnDone
from oidcgate.web.facts import Facts, FactsTable
from oidcgate.web.live import Live
from oidcgate.web.logs import AccessLog, RequestNumbers
from oidcgate.web.site import SiteRuntime
from oidcgate.web.tally import ABORTED, GONE

OnBroken = Callable[[SiteRuntime, OidcgateError], None]

METHODS = {"GET": b"GET ", "HEAD": b"HEAD "}


class QuickExchange(Exchange):
    """An exchange that remembers what its line in the access log needs; an HTTP/1.1 browser's that stays."""

    keep_alive = True
    _http11 = True

    def __init__(
        self,
        downstream: Downstream,
        facts: Facts,
        live: Live,
        method: str,
        target: str,
        *,
        began: float,
        on_done: OnDone,
    ) -> None:
        site = facts.site
        self.downstream = downstream
        self.facts = facts
        self.live = live
        self.target = target
        self.began = self.asked = began
        self._method = method
        self._rewriter = site.rewriter
        self._limits = site.limits
        self._on_done = on_done


class QuickWay:
    """
    Decides whether a request may take the short way, and sends it.

    Args:
        otherwise: asked about a request whose header block is not known.
    """

    def __init__(
        self, facts: FactsTable, access_log: AccessLog, sequence: RequestNumbers, *, otherwise: Quick | None = None
    ) -> None:
        self._facts = facts
        self._log = access_log
        self._sequence = sequence
        self._otherwise = otherwise
        self.is_open = True
        self.taken = 0
        self.on_broken: OnBroken = lambda _site, _failure: None  # told of replies that broke off

    def __call__(self, downstream: Downstream, message: RawRequestMessage) -> bool:
        """As ``downstream.Quick``."""
        facts = self._facts.known(message.raw_headers)
        if facts is None:
            return self._otherwise is not None and self.is_open and self._otherwise(downstream, message)
        if not facts.is_quick or message.version != HttpVersion11 or not self.is_open:
            return False
        live, method, target, site = facts.live, message.method, message.path, facts.site
        began = time.time()
        if live is None or live.fresh_until <= began or not live.admitted:
            return False
        if method not in METHODS or not site.quick_target.fullmatch(target) or message.should_close:
            return False
        pool = facts.pool_for(target.partition("?")[0]) if facts.routed else facts.pool
        connection = pool.take() if pool is not None else None
        if pool is None or connection is None:
            return False
        downstream.live = live
        self.taken += 1
        tail = None if facts.routed else facts.tails.get(downstream.address)
        tail = tail or self._facts.tail(facts, downstream.address, pool)
        head = b"".join((METHODS[method], target.encode("ascii"), tail, live.lines, b"\r\n"))
        exchange = QuickExchange(downstream, facts, live, method, target, began=began, on_done=self._done)
        exchange.start(connection, head)
        return True

    def _done(self, exchange: Exchange) -> None:
        exchange = cast(QuickExchange, exchange)
        downstream = exchange.downstream
        if exchange.failure is not None and not exchange.status:
            if downstream.transport is not None:
                downstream.quick_failed(None if exchange.is_stale else exchange.failure, exchange.began)
                return
            exchange.status = GONE
        facts = exchange.facts
        if exchange.failure is not None:
            self.on_broken(facts.site, exchange.failure)
        self._log.add(
            (
                exchange.began,
                facts.site,
                exchange.live.user,
                exchange._method,
                exchange.target,
                exchange.status,
                exchange.sent,
                time.time() - exchange.began,
                downstream.address,
                self._sequence.next(),
                exchange.waited,
                "" if exchange.failure is None else ABORTED,
                facts.head.trace,
            )
        )
        downstream.quick_done(keep_alive=exchange.keep_alive)
