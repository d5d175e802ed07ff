"""
The gate: what every request meets, in five stops.

Edge: aiohttp's low-level handler. ``inbound`` facts -> ``session`` -> ``policy`` -> ``rewrite`` -> ``relay`` or
``tunnel``. Rules of this file:
- The usual request - a browser that sends the same headers again, a session seen a moment ago - costs two table
  look-ups and one joined write; nothing is decrypted, parsed or stored for it.
- The bearer goes in last, and a token past its time goes nowhere.
"""

import time
from dataclasses import dataclass, field

from aiohttp import HttpVersion11, web

from oidcgate.errors import (
    OidcgateError,
    ProviderError,
    ProviderUnreachable,
    RequestError,
    StoreUnavailable,
    UpstreamError,
)
from oidcgate.inbound import METHODS, TARGET, Head, RawHeaders, check_request_line, is_navigation, read_head
from oidcgate.net.downstream import CLOSED, KEPT, Downstream, Sent
from oidcgate.net.relay import Exchange, relay
from oidcgate.net.tunnel import Switch, open_tunnel
from oidcgate.policy import (
    Allow,
    Crossing,
    Decision,
    Forbidden,
    Login,
    Unauthorized,
    admits,
    crossing,
    is_public,
    may_cross,
    refused_by,
    without_session,
)
from oidcgate.proxy.forwarded import Network, client_address, forwarding_lines, is_trusted
from oidcgate.proxy.headers import end_to_end
from oidcgate.proxy.rewrite import framing_line, outbound_head
from oidcgate.proxy.websocket import read_handshake
from oidcgate.session.cookies import find_cookie
from oidcgate.web import answers
from oidcgate.web.logs import AccessLog
from oidcgate.web.sessions import Live, Sessions
from oidcgate.web.site import SiteRuntime

MOST_REMEMBERED = 4096  # header blocks
HEAD_LINE_COST = 4  # bytes of ": " and CRLF


@dataclass(slots=True)
class Facts:
    """All that follows from a header block alone; remembered, since browsers repeat their blocks."""

    head: Head
    site: SiteRuntime
    handle: bytes | None = field(repr=False)
    block: bytes = field(repr=False)
    how: Crossing
    opens_page: bool


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

    @property
    def navigates(self) -> bool:
        """Whether a person is opening a page, as opposed to a script fetching data."""
        return self.facts.opens_page and self.method in ("GET", "HEAD") and not self.is_api

    @property
    def is_api(self) -> bool:
        """Whether the UI's scripts fetch this path."""
        return self.facts.site.preset.is_api(self.path)


class Gate:
    """
    Answers every request of the public listener.

    Args:
        own_pages: answers what lies below the prefix; set after construction.
    """

    def __init__(
        self,
        sites: dict[str, SiteRuntime],
        sessions: Sessions,
        access_log: AccessLog,
        *,
        prefix: str,
        trusted: tuple[Network, ...],
        head_limit: int,
        body_limit: int,
    ) -> None:
        self._sites = sites
        self._sessions = sessions
        self._log = access_log
        self._prefix = prefix
        self._below_prefix = prefix + "/"
        self._trusted = trusted
        self._head_limit = head_limit
        self._body_limit = body_limit
        self._facts: dict[RawHeaders, Facts] = {}
        self._forwarding: dict[tuple[str, bytes, str], bytes] = {}
        self._sequence = 0
        self.own_pages: answers.OwnPages | None = None
        self.draining = False

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse | Sent:
        """Answer one request, and log it."""
        self._sequence += 1
        downstream = request.protocol
        assert isinstance(downstream, Downstream)
        began = time.time()
        raw: RawHeaders = request.raw_headers
        target = request.raw_path
        try:
            facts = self._facts.get(raw) if request.version == HttpVersion11 else None
            if facts is None:
                facts = self._read(request, raw)
            if request.method not in METHODS or not TARGET.fullmatch(target):
                check_request_line(request.method, target, request.version)
        except RequestError as error:
            return self._refuse_early(request, error, began)
        inbound = Inbound(
            request, downstream, facts, request.method, target, target.partition("?")[0], self._sequence, began
        )
        answer = await self._answer(inbound)
        if isinstance(answer, Exchange):
            self._logged(inbound, answer.status, answer.sent, began)
            return KEPT if answer.keep_alive else CLOSED
        self._logged(inbound, answer.status, answer.body_length, began)
        return answer

    # First stop: the facts.

    def _read(self, request: web.BaseRequest, raw: RawHeaders) -> Facts:
        version = request.version
        check_request_line(request.method, request.raw_path, version)
        if sum(len(name) + len(value) + HEAD_LINE_COST for name, value in raw) > self._head_limit:
            raise RequestError("The request's headers are too large.", status=431)
        head = read_head(raw, version)
        site = self._sites.get(head.authority.removesuffix("."))
        if site is None:
            raise RequestError("No site of this gate has that host name.", status=421)
        own = site.names.session
        facts = Facts(
            head=head,
            site=site,
            handle=find_cookie(head.cookie, own),
            block=end_to_end(raw, head, own=own, others=site.kept_cookies, websocket=head.upgrade == b"websocket"),
            how=crossing(head, site.origin),
            opens_page=is_navigation("GET", head),
        )
        if version == HttpVersion11 and not head.has_body and not head.upgrade:
            if len(self._facts) >= MOST_REMEMBERED:
                self._facts.clear()
            self._facts[raw] = facts
        return facts

    def _refuse_early(self, request: web.BaseRequest, error: RequestError, began: float) -> web.Response:
        """Refuse what has no usable facts: a short text, and the end of the connection."""
        response = answers.plain_refusal(error, self._log.request_id(self._sequence))
        address = getattr(request.protocol, "address", "")
        method = request.method if request.method.isalpha() else "-"
        row = (began, None, "", "", method, "", error.status, 0, time.time() - began, address, self._sequence)
        self._log.add(row)
        return response

    # Second stop: the session; then where to.

    async def _answer(self, inbound: Inbound) -> "web.Response | Exchange":
        facts = inbound.facts
        try:
            if facts.handle is not None:
                live = self._sessions.find(facts.handle)
                if live is None or live.fresh_until <= time.time():
                    live = await self._sessions.resume(facts.handle)
                inbound.live = live
            path = inbound.path
            if path.startswith(self._below_prefix) or path == self._prefix:
                assert self.own_pages is not None
                return await self.own_pages(inbound)
            decision = self._decide(inbound)
            match decision:
                case Allow():
                    return await self._pass_on(inbound)
                case Login():
                    return answers.to_login(inbound, self._prefix)
                case Unauthorized():
                    return answers.unauthorized(inbound)
                case Forbidden():
                    return answers.forbidden(inbound, decision, self._prefix, self._id(inbound))
        except OidcgateError as error:
            return self._failed(inbound, error)

    def _id(self, inbound: Inbound) -> str:
        return self._log.request_id(inbound.sequence)

    # Third stop: the policy.

    def _decide(self, inbound: Inbound) -> Decision:
        facts, live = inbound.facts, inbound.live
        site = facts.site
        if inbound.path.startswith(site.preset.no_passage) and site.preset.no_passage:
            return Forbidden("This page would load code from another site.")
        if site.restricts and is_public(site.config.access.rules, inbound.method, inbound.path):
            inbound.live = None
            return Allow()
        if live is None:
            return without_session(navigation=inbound.navigates, is_api=inbound.is_api)
        upgrade = bool(facts.head.upgrade)
        if facts.how is not Crossing.SAME and not may_cross(
            facts.how, inbound.method, is_api=inbound.is_api, upgrade=upgrade
        ):
            return Forbidden(answers.CROSSED)
        if facts.head.upgrade == b"websocket" and facts.head.origin != site.origin.encode():
            return Forbidden(answers.CROSSED)
        if live.admitted is None:
            live.admitted = admits(site.config.access, live.claims)
        if not live.admitted:
            return Forbidden(answers.NOT_ADMITTED)
        if site.restricts and refused_by(site.config.access.rules, inbound.method, inbound.path, live.claims):
            return Forbidden(answers.RULE)
        return Allow()

    # Fourth and fifth stop: rewrite, then relay or tunnel.

    async def _pass_on(self, inbound: Inbound) -> "web.Response | Exchange":
        facts, live = inbound.facts, inbound.live
        head, site = facts.head, facts.site
        if head.upgrade == b"websocket":
            return await self._tunnel(inbound)
        if self._body_limit and head.length > self._body_limit:
            raise RequestError("The request's body is too large.", status=413)
        request = inbound.request
        keep_alive = request.keep_alive and not head.upgrade and not self.draining
        exchange = Exchange(
            inbound.downstream,
            site.rewriter,
            inbound.method,
            http11=request.version == HttpVersion11,
            keep_alive=keep_alive,
            limits=site.limits,
        )
        inbound.downstream.live = live
        pool = site.pools.for_handle(facts.handle or b"\0" * 6)
        outbound = outbound_head(
            inbound.method,
            inbound.target,
            host=pool.host_line,
            block=facts.block,
            forwarding=self._forwarding_lines(inbound),
            framing=framing_line(head, inbound.method),
            bearer=self._bearer(inbound),
        )
        await relay(
            exchange,
            request,
            outbound,
            pools=site.pools,
            pool=pool,
            method=inbound.method,
            chunked=head.chunked,
            has_body=head.has_body,
            expects_continue=head.expects_continue,
            most_body=self._body_limit,
            usable_until=self._usable_until(inbound),
        )
        return self._ended(inbound, exchange)

    def _bearer(self, inbound: Inbound) -> bytes:
        live = inbound.live
        return live.bearer if live is not None and inbound.facts.site.config.identity == "token" else b""

    def _usable_until(self, inbound: Inbound) -> float:
        return inbound.live.shared.usable_until if inbound.live is not None else float("inf")

    def _forwarding_lines(self, inbound: Inbound) -> bytes:
        """Remembered by peer, chain and site: they hardly ever change on one connection."""
        head, site = inbound.facts.head, inbound.facts.site
        peer = inbound.downstream.address
        key = (peer, head.forwarded_for if self._trusted else b"", site.authority)
        lines = self._forwarding.get(key)
        if lines is None:
            if len(self._forwarding) >= MOST_REMEMBERED:
                self._forwarding.clear()
            client = client_address(peer, head.forwarded_for, self._trusted)
            shown = "127.0.0.1" if peer == "unix" else peer
            lines = self._forwarding[key] = forwarding_lines(
                peer=shown,
                client=shown if client == peer else client,
                scheme=site.scheme,
                authority=site.authority,
            )
        return lines

    def client_address(self, inbound: Inbound) -> str:
        """Where the person is, as far as trusted proxies tell."""
        return client_address(inbound.downstream.address, inbound.facts.head.forwarded_for, self._trusted)

    def is_trusted(self, address: str) -> bool:
        """Whether an address is a configured proxy's."""
        return address == "unix" or is_trusted(address, self._trusted)

    def _ended(self, inbound: Inbound, exchange: Exchange) -> "web.Response | Exchange":
        """The exchange, unless it failed before a byte of its reply was written: then an answer of our own."""
        if exchange.failure is None or exchange.status:
            return exchange
        if inbound.downstream.transport is None:
            exchange.status = 499  # nginx's word for a client that went away
            return exchange
        return self._failed(inbound, exchange.failure)

    async def _tunnel(self, inbound: Inbound) -> "web.Response | Exchange":
        facts, live, request = inbound.facts, inbound.live, inbound.request
        site = facts.site
        handshake = read_handshake(request.raw_headers, facts.head, method=inbound.method, version=request.version)
        switch = Switch(
            handshake,
            idle_timeout=site.limits.idle_timeout,
            on_use=live.use if live is not None else lambda: None,
        )
        exchange = Exchange(
            inbound.downstream,
            site.rewriter,
            "GET",
            http11=True,
            keep_alive=False,
            limits=site.limits,
            on_upgrade=switch,
        )
        inbound.downstream.live = live
        pool = site.pools.for_handle(facts.handle or b"\0" * 6)
        outbound = outbound_head(
            "GET",
            inbound.target,
            host=pool.host_line,
            block=facts.block,
            forwarding=self._forwarding_lines(inbound),
            framing=handshake.lines(),
            bearer=self._bearer(inbound),
        )
        await open_tunnel(exchange, outbound, pools=site.pools, pool=pool, usable_until=self._usable_until(inbound))
        if switch.tunnel is not None:
            await switch.tunnel.done
            exchange.sent = switch.tunnel.sent
            return exchange
        return self._ended(inbound, exchange)

    # The end.

    def _failed(self, inbound: Inbound, error: OidcgateError) -> web.Response:
        """Whose fault it was decides: a client's 4xx, or an outage that loses nothing."""
        request_id = self._id(inbound)
        if isinstance(error, RequestError):
            return answers.refusal(inbound, error, request_id)
        if isinstance(error, ProviderUnreachable | ProviderError):
            return answers.outage(inbound, error, "provider", request_id)
        if isinstance(error, StoreUnavailable):
            return answers.outage(inbound, error, "store", request_id)
        if isinstance(error, UpstreamError):
            return answers.upstream_failure(inbound, error, request_id)
        raise error

    def _logged(self, inbound: Inbound, status: int, count: int, began: float) -> None:
        site, live = inbound.facts.site, inbound.live
        user = (live.claims.email or live.claims.subject) if live is not None else ""
        row = (
            began,
            site.preset,
            site.authority,
            user,
            inbound.method,
            inbound.target,
            status,
            count,
            time.time() - began,
            inbound.downstream.address,
            inbound.sequence,
        )
        self._log.add(row)
