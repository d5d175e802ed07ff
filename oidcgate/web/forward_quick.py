"""
The usual question of a proxy, answered without aiohttp's request objects and tasks.

Edge: called by the connection with a parsed head. Taken is a question about a GET or HEAD whose header block is known
and whose session was looked at a moment ago; all else goes the way of ``ForwardAuth``, whose verdict is the same.
"""

import time

from aiohttp import HttpVersion11
from aiohttp.http_parser import RawRequestMessage

from oidcgate.errors import RequestError
from oidcgate.net.downstream import Downstream
from oidcgate.policy import Crossing
from oidcgate.proxy.dialects import Dialect, dialect_of, read_original
from oidcgate.web.facts import FactsTable
from oidcgate.web.forward_auth import ForwardAuth
from oidcgate.web.logs import NOT_ASKED, AccessLog, RequestNumbers
from oidcgate.web.tally import ALLOWED

METHODS = ("GET", "HEAD")
BEGIN = {200: b"HTTP/1.1 200 OK\r\n", 202: b"HTTP/1.1 202 Accepted\r\n"}
END = b"Cache-Control: no-store\r\nContent-Length: 0\r\n\r\n"
MOST_PEERS = 256  # addresses
NEAR = (Crossing.SAME, Crossing.PLAIN)


class QuickAuth:
    """Decides whether a question may take the short way, and answers it."""

    def __init__(
        self,
        forward_auth: ForwardAuth,
        facts: FactsTable,
        access_log: AccessLog,
        sequence: RequestNumbers,
        *,
        prefix: str,
    ) -> None:
        self._forward_auth = forward_auth
        self._facts = facts
        self._log = access_log
        self._sequence = sequence
        self._prefix = prefix
        self._peers: dict[str, bool] = {}
        self._begin = f"{prefix}/auth"
        self.taken = 0

    def __call__(self, downstream: Downstream, message: RawRequestMessage) -> bool:
        """As ``downstream.Quick``."""
        if not message.path.startswith(self._begin) or message.version != HttpVersion11 or message.should_close:
            return False
        address = downstream.address
        is_peer = self._peers.get(address)
        if is_peer is None:
            is_peer = self._remember_peer(address)
        path, _, query = message.path.partition("?")
        found = dialect_of(path, self._prefix) if is_peer else None
        if found is None or (query and not found[0].name):  # its query may hold further conditions
            return False
        return self._answer(downstream, message, *found)

    def _remember_peer(self, address: str) -> bool:
        if len(self._peers) >= MOST_PEERS:
            self._peers.clear()
        is_peer = self._peers[address] = self._forward_auth.is_peer(address)
        return is_peer

    def _answer(self, downstream: Downstream, message: RawRequestMessage, dialect: Dialect, begin: str) -> bool:
        try:
            original = read_original(
                dialect, message.raw_headers, method=message.method, target=message.path, begin=begin
            )
        except RequestError:
            return False
        facts = self._facts.known(original.headers)
        if facts is None or facts.live is None or facts.site.restricts or facts.how not in NEAR:
            return False
        began, live = time.time(), facts.live
        if live.fresh_until <= began or not live.admitted or facts.head.upgrade:
            return False
        if original.method not in METHODS or not facts.site.quick_target.fullmatch(original.target):
            return False
        transport = downstream.transport
        if transport is None or downstream.writing_paused:
            return False
        transport.write(BEGIN[dialect.allow] + self._forward_auth.lines_for(live) + END)
        self.taken += 1
        self._log.add(
            (
                began,
                facts.site,
                live.user,
                original.method,
                original.target,
                dialect.allow,
                0,
                time.time() - began,
                downstream.address,
                self._sequence.next(),
                NOT_ASKED,
                ALLOWED,
                facts.head.trace,
            )
        )
        downstream.quick_done(keep_alive=True)
        return True
