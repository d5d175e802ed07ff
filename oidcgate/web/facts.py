"""
First stop: what a request's head says, and what follows from it for one site.

Pure but for what it holds. Everything that depends on the header block alone is worked out once and remembered, since
browsers and pollers send the same block again and again with another target.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from aiohttp import HttpVersion11, web

from oidcgate.errors import RequestError
from oidcgate.inbound import Head, RawHeaders, check_request_line, is_navigation, read_head
from oidcgate.net.downstream import Downstream
from oidcgate.net.upstream import Pool
from oidcgate.policy import Crossing, crossing
from oidcgate.proxy.forwarded import Network, client_address, forwarding_lines, is_trusted
from oidcgate.proxy.headers import end_to_end
from oidcgate.session.cookies import find_cookie
from oidcgate.web.live import Live
from oidcgate.web.site import RoutePools, SiteRuntime, SiteTable

MOST_REMEMBERED = 4096  # header blocks
MOST_BLOCK_REMEMBERED = 8192  # bytes
MOST_BYTES_REMEMBERED = 8 * 1024 * 1024  # of all blocks; what follows from them takes about as much again
MOST_CHAIN_REMEMBERED = 256  # bytes of X-Forwarded-For
MOST_TAILS = 16  # peers that send the very same block, such as a proxy's addresses
FIRST_LINE_END = b" HTTP/1.1\r\n"
NOBODY = bytes(8)  # in place of a handle, to choose a replica
LINE_COST = 4  # bytes of ": " and CRLF


@dataclass(slots=True)
class Facts:
    """
    All that follows from a header block alone.

    Attributes:
        handle: the session cookie's value, if there is exactly one well-formed.
        key: by which the session's life on this site is found.
        block: the end-to-end headers that go on.
        how: where the request comes from, as the browser tells.
        opens_page: whether a person opens a page, were it a GET.
        is_quick: whether the usual GET with these headers needs no further look.
        pool: the replica that serves this handle; None where another proxy carries the requests.
        routed: the replicas of further services of the UI, with their paths, in the order of the configuration.
        live: the session of this block's cookie, once a request of it was allowed on this site.
        tails: all of the outbound head but its first line, bearer and end, by the peer's address.
    """

    head: Head
    site: SiteRuntime
    handle: bytes | None = field(repr=False)
    key: bytes = field(repr=False)
    block: bytes = field(repr=False)
    how: Crossing
    opens_page: bool
    is_quick: bool
    pool: Pool | None
    routed: tuple[tuple[RoutePools, Pool], ...] = ()
    live: Live | None = None
    tails: dict[str, bytes] = field(default_factory=dict, repr=False)

    def pool_for(self, path: str) -> Pool | None:
        """The replica that serves this handle at a path."""
        return next((pool for route, pool in self.routed if route.matches(path)), self.pool)


@dataclass(slots=True)
class Inbound:
    """One request on its way through the stops."""

    request: web.BaseRequest
    downstream: Downstream
    facts: Facts
    method: str
    target: str
    path: str
    sequence: int
    began: float
    live: Live | None = None
    client: str = ""  # the person's address, for own pages
    block: RawHeaders = ()  # the client's headers, where a proxy asks about its request
    place: SiteRuntime | None = None  # whose session cookie an own page sets or ends, when not the facts' site's
    outcome: str = ""  # a word of ``tally``, where the status of our own answer does not tell it
    is_copied: bool = False  # whether the reply is looked at once it has passed

    @property
    def navigates(self) -> bool:
        """Whether a person is opening a page, as opposed to a script fetching data."""
        return self.facts.opens_page and self.method in ("GET", "HEAD") and not self.is_api

    @property
    def takes_badge(self) -> bool:
        """Whether a person who is signed in opens what may be a page that the badge goes into."""
        live = self.live
        return self.facts.opens_page and self.facts.site.config.badge and live is not None and bool(live.handle)

    @property
    def is_api(self) -> bool:
        """Whether the UI's scripts fetch this path."""
        return self.facts.site.preset.is_api(self.path)


def seen_as(peer: str) -> str:
    """A peer's address; whoever comes by a Unix socket is on this machine."""
    return "127.0.0.1" if peer == "unix" else peer


def pseudonym(sites: Iterable[str]) -> str:
    """Our name in Via (RFC 9110 §7.6.3): one for all processes of a configuration, another one for other gates."""
    return "oidcgate-" + hashlib.sha256("\n".join(sorted(sites)).encode()).hexdigest()[:8]


class FactsTable:
    """Reads header blocks; remembers those that can be."""

    def __init__(
        self,
        sites: SiteTable,
        *,
        trusted: tuple[Network, ...],
        head_limit: int,
        peers: tuple[Network, ...] = (),
    ) -> None:
        self._sites = sites
        self._trusted = trusted
        self._told_by = (*trusted, *peers)  # for the person's address alone: peers forward the logins of many
        self._head_limit = head_limit
        self._via = pseudonym(sites.names)
        self._bytes = 0
        self._known: dict[RawHeaders, Facts] = {}
        self._forwarding: dict[tuple[str, bytes, str], bytes] = {}
        self.known = self._known.get  # the quick way's only call

    def read(self, request: web.BaseRequest) -> Facts:
        """
        The facts of a request.

        Raises:
            RequestError: 400, 405, 417, 421 or 431.
        """
        raw, version = request.raw_headers, request.version
        check_request_line(request.method, request.raw_path, version)
        facts = self._known.get(raw) if version == HttpVersion11 else None
        return facts or self.gather(raw, version)

    def remember(self, request: web.BaseRequest, facts: Facts) -> None:
        """Keep the facts of a block that somebody signed in sends; nobody else fills this table."""
        if request.version == HttpVersion11:
            self.keep(facts, request.raw_headers)

    def keep(self, facts: Facts, raw: RawHeaders) -> None:
        """As ``remember``, of a block that a proxy asked about."""
        head = facts.head
        if head.has_body or head.upgrade or head.trace or raw in self._known:
            return  # a trace's next request has another block
        size = sum(len(name) + len(value) for name, value in raw)
        if size > MOST_BLOCK_REMEMBERED:
            return
        if len(self._known) >= MOST_REMEMBERED or self._bytes > MOST_BYTES_REMEMBERED:
            self.forget()
        self._bytes += size
        self._known[raw] = facts

    def gather(self, raw: RawHeaders, version: tuple[int, int]) -> Facts:
        """
        The facts of a header block.

        Raises:
            RequestError: 400, 417, 421 or 431.
        """
        if sum(len(name) + len(value) + LINE_COST for name, value in raw) > self._head_limit:
            raise RequestError("The request's headers are too large.", status=431)
        head = read_head(raw, version)
        if self._via.encode() in head.via:
            raise RequestError("This request came back to this proxy in a loop.")
        site = self._sites.get(head.authority)
        if site is None:
            raise RequestError("No site of this gate has that host name.", status=421)
        own = site.names.session
        handle = find_cookie(head.cookie, own)
        how = crossing(head, site.origin)
        opens_page = is_navigation("GET", head)
        return Facts(
            head=head,
            site=site,
            handle=handle,
            key=site.scope + (handle or b""),
            block=end_to_end(
                raw,
                head,
                own=own,
                others=(*site.kept_cookies, *site.own_cookies),
                websocket=head.upgrade == b"websocket",
                dropped=site.outgoing.dropped,
            ),
            how=how,
            opens_page=opens_page,
            is_quick=handle is not None
            and how in (Crossing.SAME, Crossing.PLAIN)
            and site.carries
            and not site.restricts
            and not (opens_page and site.config.badge),
            pool=site.pools.for_handle(handle or NOBODY) if site.carries else None,
            routed=tuple((route, route.pools.for_handle(handle or NOBODY)) for route in site.routes),
        )

    def tail(self, facts: Facts, peer: str, pool: Pool) -> bytes:
        """What follows a bodiless request's first line, but for the bearer and the end; remembered with the facts."""
        key = peer if pool is facts.pool else f"{peer} {pool.address}"
        tail = facts.tails.get(key)
        if tail is None:
            if len(facts.tails) >= MOST_TAILS:
                facts.tails.clear()
            lines = self.forwarding(facts.head, facts.site, peer)
            tail = facts.tails[key] = FIRST_LINE_END + pool.host_line + facts.block + lines
        return tail

    def forget(self) -> None:
        """Let every request be looked at anew."""
        self._known.clear()
        self._bytes = 0

    def forwarding(self, head: Head, site: SiteRuntime, peer: str) -> bytes:
        """Our forwarding headers; remembered by peer, chain and site, which hardly change on one connection."""
        key = (peer, head.forwarded_for if self._trusted else b"", site.authority)
        lines = self._forwarding.get(key)
        if lines is None:
            shown = seen_as(peer)
            client = client_address(shown, head.forwarded_for, self._trusted)
            lines = forwarding_lines(
                peer=shown,
                client=client,
                scheme=site.scheme,
                authority=site.authority,
                via=self._via,
            )
            if len(key[1]) <= MOST_CHAIN_REMEMBERED:
                if len(self._forwarding) >= MOST_REMEMBERED:
                    self._forwarding.clear()
                self._forwarding[key] = lines
        return lines

    def client_address(self, inbound: Inbound) -> str:
        """Where the person is, as far as trusted proxies tell."""
        return client_address(seen_as(inbound.downstream.address), inbound.facts.head.forwarded_for, self._told_by)

    def is_trusted(self, address: str) -> bool:
        """Whether an address is a configured proxy's."""
        return address == "unix" or is_trusted(address, self._trusted)
