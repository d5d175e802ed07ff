"""
The gate: what every request meets, in five stops.

Edge: aiohttp's low-level handler. ``inbound`` facts -> ``session`` -> ``policy`` -> ``rewrite`` -> ``relay`` or
``tunnel``. Rules of this file:
- Refusals and outages are told apart here and answered in one place.
- The bearer goes in last, and a token past its time goes nowhere.
"""

import asyncio
import secrets
import time
from collections.abc import Callable

from aiohttp import HttpVersion10, HttpVersion11, web

from oidcgate.errors import (
    InvalidBearer,
    OidcgateError,
    ProviderError,
    RequestError,
    SessionError,
    StoreUnavailable,
    UpstreamError,
)
from oidcgate.kube.client import ClusterUnreachable
from oidcgate.net.copied import CopiedExchange
from oidcgate.net.downstream import CLOSED, KEPT, Downstream, Sent
from oidcgate.net.page import PageExchange
from oidcgate.net.relay import PASSING, RETRYABLE, Exchange, OnDone, Request, body_of, relay
from oidcgate.net.tunnel import Switch, open_tunnel
from oidcgate.net.upload import Body
from oidcgate.net.upstream import Pool
from oidcgate.policy import (
    Allow,
    Crossing,
    Decision,
    Forbidden,
    Login,
    Unauthorized,
    admits,
    is_public,
    may_cross,
    readings,
    refused_by,
    without_session,
)
from oidcgate.proxy.badge import Badge, unconditional
from oidcgate.proxy.rewrite import framing_line, outbound_head
from oidcgate.proxy.websocket import read_handshake
from oidcgate.web import answers
from oidcgate.web.audit import Audit
from oidcgate.web.cluster import Clusters
from oidcgate.web.facts import FactsTable, Inbound
from oidcgate.web.followed import Followed
from oidcgate.web.forward_auth import ForwardAuth
from oidcgate.web.guard import Guard
from oidcgate.web.live import Live
from oidcgate.web.logs import NOT_ASKED, AccessLog, RequestNumbers
from oidcgate.web.metrics import Metrics
from oidcgate.web.misfit import misfit
from oidcgate.web.programs import Programs
from oidcgate.web.sessions import Sessions
from oidcgate.web.site import SiteRuntime
from oidcgate.web.tally import ABORTED, GONE, LOGIN
from oidcgate.web.visits import Visits


class Gate:
    """
    Answers every request of the public listener.

    Args:
        own_pages: answers what lies below the prefix; set after construction.
    """

    def __init__(
        self,
        facts: FactsTable,
        sessions: Sessions,
        access_log: AccessLog,
        sequence: RequestNumbers,
        *,
        prefix: str,
        body_limit: int,
    ) -> None:
        self.facts = facts
        self._sessions = sessions
        self._log = access_log
        self._sequence = sequence
        self._prefix = prefix
        self._below_prefix = prefix + "/"
        self._body_limit = body_limit
        self.own_pages: answers.OwnPages | None = None
        self.forward_auth: ForwardAuth | None = None
        self.visits: Visits | None = None
        self.programs: Programs | None = None
        self.audit = Audit()
        self.metrics = Metrics()
        self.followed = Followed(self.audit, address=facts.client_address)
        self.clusters: Clusters | None = None  # where a site names its API server
        self._question = f"{prefix}/auth"
        self._badge = f"{prefix}/badge"
        self._logo = f"{prefix}/logo"
        self.guards: dict[str, Guard] = {}  # by the site's authority; of UIs that may ignore the bearer
        self.draining = False

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse | Sent:
        """Answer one request, and log it."""
        sequence = self._sequence.next()
        downstream = request.protocol
        assert isinstance(downstream, Downstream)
        began = time.time()
        target = request.raw_path
        path = target.partition("?")[0]
        if path.startswith(self._question) and self.forward_auth is not None:
            return await self.forward_auth.answer(request, downstream, sequence, began)
        try:
            facts = self.facts.read(request)
            readings(path)  # refuses what could be read in too many ways, before anything asks how
        except RequestError as error:
            return self._refuse_early(request, error, sequence, began)
        inbound = Inbound(request, downstream, facts, request.method, target, path, sequence, began)
        try:
            answer = await self._answer(inbound)
        except Exception:  # our own mistake: the connection answers 500, and tells of it
            self.logged(inbound, 500, 0)
            raise
        except asyncio.CancelledError:
            self._cut(inbound)
            raise
        if isinstance(answer, Exchange):
            outcome = ABORTED if answer.failure is not None else ""
            self.logged(inbound, answer.status, answer.sent, waited=answer.waited, outcome=outcome)
            return KEPT if answer.keep_alive else CLOSED
        count = len(answer.body) if isinstance(answer.body, bytes) else 0
        self.logged(inbound, answer.status, count, outcome=inbound.outcome)
        return answer

    def _cut(self, inbound: Inbound) -> None:
        """The gate ends before the reply does."""
        exchange = inbound.downstream.writer_of_reply
        status, sent, waited = 0, 0, NOT_ASKED
        if isinstance(exchange, Exchange):
            status, sent, waited = exchange.status, exchange.sent, exchange.waited
        self.logged(inbound, status or GONE, sent, waited=waited, outcome=ABORTED)

    def _refuse_early(self, request: web.BaseRequest, error: RequestError, sequence: int, began: float) -> web.Response:
        """Refuse what has no usable facts: a short text, and the end of the connection."""
        response = answers.plain_refusal(error, self._log.request_id(sequence))
        if request.version not in (HttpVersion10, HttpVersion11):
            request._cache["version"] = HttpVersion11  # the answer is never in a version that we do not speak
        self.log_refusal(request, error.status, sequence, began)
        return response

    def log_refusal(self, request: web.BaseRequest, status: int, sequence: int, began: float) -> None:
        """A line for what has no usable facts."""
        address = getattr(request.protocol, "address", "")
        method = request.method if request.method.isalpha() else "-"
        seconds = time.time() - began
        self._log.add((began, None, '""', method, "", status, 0, seconds, address, sequence, NOT_ASKED, "", ""))

    # Second stop: the session; then where to.

    async def _answer(self, inbound: Inbound) -> "web.Response | Exchange":
        try:
            inbound.live = await self.session(inbound)
            failed, inbound.downstream.quick_failure = inbound.downstream.quick_failure, None
            if failed is not None:
                failure, inbound.began = failed
                raise failure
            if self.is_own(inbound.path):
                assert self.own_pages is not None
                return await self.own_pages(inbound)
            decision = self.decide(inbound)
            if isinstance(decision, Forbidden):
                self.audit.denied(inbound, decision, self.facts.client_address(inbound))
            refusal = await self._misfit(inbound, decision) if self.clusters is not None else None
            if refusal is not None:
                return refusal
            match decision:
                case Allow():
                    return await self._allowed(inbound)
                case Login():
                    inbound.outcome = LOGIN
                    return answers.to_login(inbound, self._prefix)
                case Unauthorized():
                    return answers.unauthorized(inbound)
                case Forbidden():
                    return answers.forbidden(inbound, decision, self._prefix, self.request_id(inbound))
        except OidcgateError as error:
            return self._failed(inbound, error)

    async def _misfit(self, inbound: Inbound, decision: Decision) -> web.Response | None:
        """In place of an empty UI, for whoever opens a page: why the API server does not take their token."""
        live, site = inbound.live, inbound.facts.site
        if live is None or not inbound.navigates or self.clusters is None:
            return None
        if not isinstance(decision, Allow) and decision != Forbidden(answers.NOT_PERMITTED):
            return None
        who = await self.clusters.check(live, site)
        return None if who is None else misfit(inbound, who, self._prefix, self.request_id(inbound))

    def is_own(self, path: str) -> bool:
        """Whether a path is the gate's own."""
        return path.startswith(self._below_prefix) or path == self._prefix

    async def session(self, inbound: Inbound) -> Live | None:
        """
        The live session of the request's handle, if it belongs to this site; or whose token a program brings.

        Raises:
            InvalidBearer, RequestError: that token is not good, or came along with a cookie.
            StoreUnavailable, ProviderError, ClusterUnreachable: nobody can tell now.
        """
        live = await self._found(inbound)
        if live is None or live.permitted_until > time.time() or not self._needs_permission(inbound):
            return live
        assert self.clusters is not None
        await self.clusters.judge(live)
        if live.over:
            return None
        live.refresh(time.time())
        return live

    def _needs_permission(self, inbound: Inbound) -> bool:
        """Our own pages are for everybody, and so are public ones."""
        site = inbound.facts.site
        rules = site.config.access.rules
        return not self.is_own(inbound.path) and not (
            site.restricts and is_public(rules, site.authority, inbound.method, inbound.path)
        )

    async def _found(self, inbound: Inbound) -> Live | None:
        facts = inbound.facts
        if facts.head.authorization and self.programs is not None and not self.is_own(inbound.path):
            live = await self.programs.admit(facts)
            if live is not None:
                return live
        if facts.handle is None or inbound.path == self._logo:  # a picture for everybody, also while the store is away
            return None
        # An idle tab's questions are no use of its session, nor is what another site's page does, which is refused.
        if inbound.path.startswith(self._badge) or facts.how is Crossing.FOREIGN:
            return await self._sessions.look(facts.handle, facts.site)
        live = self._sessions.find(facts.key)
        if live is None or live.fresh_until <= time.time():
            for_token = facts.site.carries or not self.is_own(inbound.path)
            return await self._sessions.resume(facts.handle, facts.site, for_token=for_token)
        return live if live.session.site == facts.site.session_site else None

    def request_id(self, inbound: Inbound) -> str:
        """How pages and log name this request."""
        return self._log.request_id(inbound.sequence)

    # Third stop: the policy.

    def decide(self, inbound: Inbound) -> Decision:
        """Whether a request may pass; also of one that another proxy carries."""
        facts, live = inbound.facts, inbound.live
        site = facts.site
        if site.preset.is_closed(inbound.path):
            return Forbidden("This page would load code from another site.")
        if site.restricts and is_public(site.config.access.rules, site.authority, inbound.method, inbound.path):
            inbound.live = None
            return Allow()
        if live is None:
            return without_session(navigation=inbound.navigates, is_api=inbound.is_api)
        if live.handle and self._crosses(inbound):
            return Forbidden(answers.CROSSED)
        if live.admitted is None:
            live.admitted = admits(site.config.access, live.claims)
        if not live.admitted:
            return Forbidden(answers.NOT_ADMITTED)
        if not live.permitted:
            return Forbidden(answers.NOT_PERMITTED)
        rules = site.config.access.rules
        if site.restricts and refused_by(rules, site.authority, inbound.method, inbound.path, live.claims):
            return Forbidden(answers.RULE)
        return Allow()

    def _crosses(self, inbound: Inbound) -> bool:
        """Whether another site's page makes the browser act with our cookie."""
        facts, head = inbound.facts, inbound.facts.head
        if head.upgrade == b"websocket" and head.origin != facts.site.origin.encode():
            return True
        upgrade = bool(head.upgrade)
        return facts.how is not Crossing.SAME and not may_cross(
            facts.how, inbound.method, is_api=inbound.is_api, upgrade=upgrade
        )

    def note_visit(self, live: Live, site: SiteRuntime) -> None:
        """For the landing page."""
        if self.visits is not None and live.handle:
            self.visits.note(live.session.grant_key, site.origin)

    # Fourth and fifth stop: rewrite, then relay or tunnel.

    async def _allowed(self, inbound: Inbound) -> "web.Response | Exchange":
        action = self.followed.action(inbound)
        if action is None:
            return await self._pass_on(inbound)
        return await self.followed.through(inbound, action, self._pass_on)

    async def _pass_on(self, inbound: Inbound) -> "web.Response | Exchange":
        facts, request = inbound.facts, inbound.request
        head, site, pool = facts.head, facts.site, facts.pool_for(inbound.path)
        if pool is None:
            return answers.elsewhere(inbound, self._prefix, self.request_id(inbound))
        guard = self.guards.get(site.authority)
        if guard is not None:
            await guard.check()
        if head.upgrade == b"websocket":
            return await self._tunnel(inbound, pool)
        if inbound.live is not None and inbound.live.handle:
            self.facts.remember(request, facts)
            facts.live = inbound.live
            self.note_visit(inbound.live, facts.site)
        if self._body_limit and head.length > self._body_limit:
            raise RequestError("The request's body is too large.", status=413)
        keep_alive = request.keep_alive and not head.upgrade and not self.draining
        body = None
        if head.has_body:
            body = body_of(
                request,
                chunked=head.chunked,
                expects_continue=head.expects_continue and request.version == HttpVersion11,
                most=self._body_limit,
            )
        exchange = await relay(
            self._exchanges(inbound, keep_alive=keep_alive),
            self._outbound(inbound, pool, framing_line(head, inbound.method), body),
            pools=site.pools_for(inbound.path),
            pool=pool,
        )
        return self._ended(inbound, exchange)

    def _exchanges(self, inbound: Inbound, *, keep_alive: bool) -> Callable[[OnDone], Exchange]:
        """Makes an exchange for a request, once a try."""
        site = inbound.facts.site
        inbound.downstream.live = inbound.live
        is_page = self._is_page(inbound)

        def make(on_done: OnDone) -> Exchange:
            exchange = (PageExchange if is_page else CopiedExchange if inbound.is_copied else Exchange)(
                inbound.downstream,
                site.rewriter,
                inbound.method,
                http11=inbound.request.version == HttpVersion11,
                keep_alive=keep_alive,
                limits=site.limits,
                on_done=on_done,
            )
            exchange.target, exchange.began = inbound.target, inbound.began
            if isinstance(exchange, PageExchange):
                exchange.badge = Badge(site.origin, f"{self._badge}.js", self._badge, secrets.token_urlsafe(16))
            return exchange

        return make

    @staticmethod
    def _is_page(inbound: Inbound) -> bool:
        """Whether the reply may be a page that the badge goes into."""
        return inbound.takes_badge and inbound.navigates

    def _outbound(self, inbound: Inbound, pool: Pool, framing: bytes, body: Body | None) -> Request:
        """The rewritten request; the bearer goes in last."""
        facts, live = inbound.facts, inbound.live
        head = outbound_head(
            inbound.method,
            inbound.target,
            host=pool.host_line,
            block=unconditional(facts.block) if self._is_page(inbound) else facts.block,
            forwarding=self.facts.forwarding(facts.head, facts.site, inbound.downstream.address),
            framing=framing,
            bearer=live.lines if live is not None else b"",
        )
        return Request(
            head=head,
            body=body,
            retryable=inbound.method in RETRYABLE and body is None,
            again=PASSING if self._is_tried_again(inbound) else frozenset(),
            check=live.check_usable if live is not None else lambda: None,
        )

    @staticmethod
    def _is_tried_again(inbound: Inbound) -> bool:
        """Whether one failure of this request would end the login in the client's eyes."""
        return inbound.method == "GET" and inbound.path in inbound.facts.site.preset.tried_again

    async def _tunnel(self, inbound: Inbound, pool: Pool) -> "web.Response | Exchange":
        facts, live, request = inbound.facts, inbound.live, inbound.request
        site = facts.site
        handshake = read_handshake(request.raw_headers, facts.head, method=inbound.method, version=request.version)
        switch = Switch(
            handshake,
            idle_timeout=site.limits.idle_timeout,
            on_use=live.use if live is not None else lambda: None,
        )
        exchange = await open_tunnel(
            self._exchanges(inbound, keep_alive=False),
            self._outbound(inbound, pool, handshake.lines(), None),
            pools=site.pools_for(inbound.path),
            pool=pool,
            switch=switch,
        )
        return self._ended(inbound, exchange)

    def _ended(self, inbound: Inbound, exchange: Exchange) -> "web.Response | Exchange":
        """The exchange, unless it failed before a byte of its reply was written: then an answer of our own."""
        if exchange.failure is None:
            return exchange
        if exchange.status:
            self.metrics.upstream_failed(inbound.facts.site, exchange.failure)
            return exchange
        if inbound.downstream.transport is None:
            exchange.status = GONE
            return exchange
        return self._failed(inbound, exchange.failure)

    # The end.

    def _failed(self, inbound: Inbound, error: OidcgateError) -> web.Response:
        """Whose fault it was decides: a client's 4xx, or an outage that loses nothing."""
        request_id = self.request_id(inbound)
        if isinstance(error, RequestError):
            return answers.refusal(inbound, error, request_id)
        if isinstance(error, ProviderError):
            return answers.outage(inbound, error, "provider", request_id)
        if isinstance(error, StoreUnavailable):
            return answers.outage(inbound, error, "store", request_id)
        if isinstance(error, ClusterUnreachable):
            return answers.outage(inbound, error, "cluster", request_id)
        if isinstance(error, InvalidBearer):
            return answers.unauthorized(inbound, canned=False, challenge=answers.INVALID_TOKEN)
        if isinstance(error, SessionError):
            return answers.unauthorized(inbound)
        if isinstance(error, UpstreamError):
            self.metrics.upstream_failed(inbound.facts.site, error)
            return answers.upstream_failure(inbound, error, request_id)
        raise error

    def logged(
        self, inbound: Inbound, status: int, count: int, *, waited: float = NOT_ASKED, outcome: str = ""
    ) -> None:
        """A row for the access log and the metrics."""
        user = inbound.live.user if inbound.live is not None else '""'
        seconds = time.time() - inbound.began
        address = inbound.downstream.address
        facts, method, target = inbound.facts, inbound.method, inbound.target
        row = (inbound.began, facts.site, user, method, target, status, count, seconds, address, inbound.sequence)
        self._log.add((*row, waited, outcome, facts.head.trace))
