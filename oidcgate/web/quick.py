"""
The usual request, answered without aiohttp's request objects and tasks.

Edge: called by the connection with a parsed head. Taken is a GET or HEAD whose header block is known, whose session was
looked at a moment ago, and for which a connection to the UI is waiting: two table look-ups and one joined write.
Everything else is declined and goes through the five stops of ``Gate``; the verdict is the same, the way is shorter.
"""

import re
import time
from typing import cast

from aiohttp import HttpVersion11
from aiohttp.http_parser import RawRequestMessage

from oidcgate.net.downstream import Downstream
from oidcgate.net.relay import Exchange
from oidcgate.web.facts import Facts, FactsTable
from oidcgate.web.live import Live
from oidcgate.web.logs import AccessLog, RequestNumbers
from oidcgate.web.sessions import Sessions

# A path that can be read in one way only (but for spaces, which the Dashboard sends), and any query.
SEGMENT = r"(?:[!\"$&-.0-:<->@-\[\]-~]|%20)"
PLAIN_TARGET = re.compile(rf"(?![^?]*/\.{{1,2}}(?:[/?]|$))/(?:{SEGMENT}+/)*{SEGMENT}*(?:\?[!\"$-\[\]-~]*)?")
METHODS = {"GET": b"GET ", "HEAD": b"HEAD "}


class QuickExchange(Exchange):
    """An exchange that remembers what its line in the access log needs."""

    facts: Facts
    live: Live
    sequence: int


class QuickWay:
    """Decides whether a request may take the short way, and sends it."""

    def __init__(
        self, facts: FactsTable, sessions: Sessions, access_log: AccessLog, sequence: RequestNumbers, *, prefix: str
    ) -> None:
        self._facts = facts
        self._sessions = sessions
        self._log = access_log
        self._sequence = sequence
        self._prefix = prefix
        self.is_open = True
        self.taken = 0

    def __call__(self, downstream: Downstream, message: RawRequestMessage) -> bool:
        """As ``downstream.Quick``."""
        facts = self._facts.known(message.raw_headers)
        if facts is None or not facts.is_quick or message.version != HttpVersion11 or not self.is_open:
            return False
        handle, method, target = facts.handle, message.method, message.path
        assert handle is not None
        live = self._sessions.find(handle)
        began = time.time()
        if live is None or live.fresh_until <= began or not live.admitted:
            return False
        if method not in METHODS or not PLAIN_TARGET.fullmatch(target) or message.should_close:
            return False
        site = facts.site
        if live.session.site != site.origin:
            return False
        if target.startswith(self._prefix) or target.startswith(site.preset.no_passage):
            return False
        connection = facts.pool.take()
        if connection is None:
            return False
        exchange = QuickExchange(
            downstream,
            site.rewriter,
            method,
            http11=True,
            keep_alive=True,
            limits=site.limits,
            on_done=self._done,
        )
        exchange.facts, exchange.live, exchange.target, exchange.began = facts, live, target, began
        exchange.sequence = self._sequence.next()
        downstream.live = live
        self.taken += 1
        bearer = live.bearer if site.sends_token else b""
        tail = self._facts.tail(facts, downstream.address)
        head = b"".join((METHODS[method], target.encode("ascii"), tail, bearer, b"\r\n"))
        exchange.start(connection, head)
        return True

    def _done(self, exchange: Exchange) -> None:
        exchange = cast(QuickExchange, exchange)
        downstream = exchange.downstream
        if exchange.failure is not None and not exchange.status:
            downstream.quick_failed(None if exchange.is_stale else exchange.failure)
            return
        facts = exchange.facts
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
                exchange.sequence,
            )
        )
        downstream.quick_done(keep_alive=exchange.keep_alive)
