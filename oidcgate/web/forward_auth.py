"""
Forward auth: the verdict on a request that another proxy carries, in the words that this proxy understands.

Edge: aiohttp responses. Rules of this file:
- The verdict is the gate's own: the client's header block and the original line are judged as if they had come here.
- Tokens go to configured peers alone. Whoever else asks learns whether there is a session on the host it came to, and
  nothing where that depends on the path.
- No answer sets a cookie or may be cached.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from oidcgate.config.model import Access
from oidcgate.errors import InvalidBearer, OidcgateError, ProviderError, RequestError, StoreUnavailable
from oidcgate.inbound import check_request_line
from oidcgate.kube.client import ClusterUnreachable
from oidcgate.net.downstream import Downstream
from oidcgate.policy import Allow, Crossing, Decision, Forbidden, Login, Unauthorized, admits, readings
from oidcgate.proxy.dialects import Dialect, dialect_of, read_original, restrictions
from oidcgate.proxy.forwarded import Network, is_trusted
from oidcgate.web import answers, texts
from oidcgate.web.facts import Inbound
from oidcgate.web.identity import WARN_TOKEN, identity_lines
from oidcgate.web.live import Live
from oidcgate.web.pages import json_response, own_headers
from oidcgate.web.site import SiteTable
from oidcgate.web.tally import ALLOWED, LOGIN

if TYPE_CHECKING:
    from oidcgate.web.gate import Gate

log = logging.getLogger("oidcgate.forward_auth")

HTTP11 = (1, 1)
MOST_WARNED = 1024  # sessions whose large token was told
INGRESS = b"nginx-ingress-controller"  # what ingress-nginx sends as X-Sent-From


def meets(conditions: Mapping[str, Sequence[str]], live: Live | None) -> bool:
    """Whether a person meets every condition of a question; nobody meets none."""
    for name, values in conditions.items():
        field = name.removeprefix("allowed_")
        wanted = tuple(value.removeprefix("*") if value.startswith("*.") else value for value in values if value)
        if not wanted or live is None or not admits(Access.model_validate({field: wanted}), live.claims):
            return False
    return True


class ForwardAuth:
    """
    Answers what peers ask.

    Args:
        peers: networks of the proxies that are believed.
        headers: which names an allowing answer has; see ``forward_auth.headers``.
    """

    def __init__(
        self,
        gate: "Gate",
        table: SiteTable,
        *,
        peers: tuple[Network, ...],
        headers: Sequence[str],
        prefix: str,
    ) -> None:
        self._gate = gate
        self._table = table
        self._peers = peers
        self._headers = tuple(headers)
        self._prefix = prefix
        self._nobody = identity_lines(None, b"", self._headers)
        self._warned: set[str] = set()

    def is_peer(self, address: str) -> bool:
        """Whether what comes from an address is believed; a Unix socket is opened to its group alone."""
        return bool(self._peers) and (address == "unix" or is_trusted(address, self._peers))

    async def answer(
        self, request: web.BaseRequest, downstream: Downstream, sequence: int, began: float
    ) -> web.Response:
        """The verdict on one question; logged as the request that it is about."""
        found = dialect_of(request.raw_path.partition("?")[0], self._prefix)
        if found is None:
            self._gate.log_refusal(request, 404, sequence, began)
            return self._bare(json_response(404, {"error": "not_found", "message": texts.NO_DIALECT}))
        dialect, begin = found
        try:
            if not self.is_peer(downstream.address):
                return await self._for_stranger(dialect, request, downstream, sequence, began)
            inbound = self._inbound(dialect, begin, request, downstream, sequence, began)
        except RequestError as error:
            log.info("a question was refused: %s", error.public)
            self._gate.log_refusal(request, 403, sequence, began)
            return self._bare(json_response(403, {"error": "forbidden", "message": error.public}))
        response = await self._verdict(dialect, inbound)
        outcome = {dialect.allow: ALLOWED, 302: LOGIN}.get(response.status, "")
        self._gate.logged(inbound, response.status, 0, outcome=outcome)
        return response

    def _inbound(
        self,
        dialect: Dialect,
        begin: str,
        request: web.BaseRequest,
        downstream: Downstream,
        sequence: int,
        began: float,
    ) -> Inbound:
        """
        The original request, as if it had come here.

        Raises:
            RequestError: it is malformed, or for no site of ours.
        """
        original = read_original(
            dialect, request.raw_headers, method=request.method, target=request.raw_path, begin=begin
        )
        check_request_line(original.method, original.target, HTTP11)
        path = original.target.partition("?")[0]
        readings(path)
        facts = self._gate.facts.known(original.headers) or self._gate.facts.gather(original.headers, HTTP11)
        inbound = Inbound(request, downstream, facts, original.method, original.target, path, sequence, began)
        inbound.block = original.headers
        return inbound

    async def _verdict(self, dialect: Dialect, inbound: Inbound) -> web.Response:
        try:
            inbound.live = await self._gate.session(inbound)
            if self._gate.is_own(inbound.path):
                return self._refusing(dialect, inbound, Forbidden(texts.OWN_PATH))
            decision = self._gate.decide(inbound)
            if isinstance(decision, Allow) and not meets(restrictions(dialect, inbound.request.raw_path), inbound.live):
                decision = Forbidden(answers.NOT_ADMITTED)
            if isinstance(decision, Forbidden):
                self._gate.audit.denied(inbound, decision, self._gate.facts.client_address(inbound))
            if isinstance(decision, Allow):
                if inbound.live is not None:
                    inbound.live.check_usable()
                self._gate.followed.carried(inbound)
                return self._allowing(dialect, inbound)
        except OidcgateError as error:
            return self._failing(dialect, inbound, error)
        return self._refusing(dialect, inbound, decision)

    # Yes.

    def lines_for(self, live: Live | None) -> bytes:
        """The identity headers of an allowing answer; made once a token."""
        if live is None:
            return self._nobody
        if live.told is None:
            bearer = live.bearer if live.site.config.identity == "token" else b""
            live.told = identity_lines(live.claims, bearer, self._headers)
            self._warn(live, len(bearer))
        return live.told

    def _warn(self, live: Live, size: int) -> None:
        if size > WARN_TOKEN and live.session.key not in self._warned:
            if len(self._warned) >= MOST_WARNED:
                self._warned.clear()
            self._warned.add(live.session.key)
            log.warning(
                "a token of %d bytes is near or over what proxies read by default (4 KiB): raise proxy_buffer_size, "
                "or give fewer groups",
                size,
            )

    def _allowing(self, dialect: Dialect, inbound: Inbound) -> web.Response:
        live = inbound.live
        if live is not None and live.handle:
            self._gate.facts.keep(inbound.facts, inbound.block)
            inbound.facts.live = live
            self._gate.note_visit(live, inbound.facts.site)
        response = web.Response(status=dialect.allow)
        for line in self.lines_for(live).split(b"\r\n")[:-1]:
            name, _, value = line.partition(b": ")
            response.headers.add(name.decode("ascii"), value.decode("utf-8", "surrogateescape"))
        return self._bare(response)

    # No.

    def _refusing(self, dialect: Dialect, inbound: Inbound, decision: Decision) -> web.Response:
        if isinstance(decision, Forbidden):
            if dialect.passes_answer:
                return answers.forbidden(inbound, decision, self._prefix, self._gate.request_id(inbound))
            return self._bare(json_response(403, {"error": "forbidden", "message": answers.sentence_of(decision)}))
        if isinstance(decision, Login):
            return self._to_login(dialect, inbound)
        assert isinstance(decision, Unauthorized)
        if dialect.passes_answer:
            return answers.unauthorized(inbound, canned=False)
        return self._unauthorized(dialect, inbound)

    def sign_in_url(self, inbound: Inbound) -> str:
        """Where a person signs in: on the host itself, or where one cookie serves all, on the login host."""
        site, login = inbound.facts.site, self._table.login
        if login.names.domain is None:
            return f"{site.origin}{self._prefix}/start?rd={quote(inbound.target, safe='')}"
        return f"{login.origin}{self._prefix}/start?rd={quote(site.origin + inbound.target, safe='')}"

    def _to_login(self, dialect: Dialect, inbound: Inbound) -> web.Response:
        if dialect.passes_answer:
            response = web.Response(status=302, text="Continue at the address in the Location header.\n")
            response.headers["Location"] = self.sign_in_url(inbound)
            return self._bare(response)
        response = json_response(401, {"error": "unauthorized", "message": texts.SIGN_IN_FIRST})
        response.headers["WWW-Authenticate"] = answers.CHALLENGE
        response.headers["X-Oidcgate-Location"] = self.sign_in_url(inbound)
        return self._bare(response)

    def _unauthorized(self, dialect: Dialect, inbound: Inbound) -> web.Response:
        """A script's 401. ingress-nginx would redirect even that to the login, again and again: it is told 403."""
        if dialect.name == "nginx" and (b"X-Sent-From", INGRESS) in inbound.request.raw_headers:
            return self._bare(json_response(403, {"error": "forbidden", "message": texts.SIGN_IN_FIRST}))
        preset = inbound.facts.site.preset
        response = web.Response(status=401, body=preset.unauthorized, content_type=preset.unauthorized_type)
        response.headers["WWW-Authenticate"] = answers.CHALLENGE
        response.headers["X-Oidcgate-Body"] = preset.unauthorized.decode("ascii", "replace")
        response.headers["X-Oidcgate-Type"] = preset.unauthorized_type
        return self._bare(response)

    def _failing(self, dialect: Dialect, inbound: Inbound, error: OidcgateError) -> web.Response:
        """An outage is a 503 that loses nothing; anything else that the slow way can meet is a refusal."""
        if isinstance(error, ProviderError | StoreUnavailable | ClusterUnreachable):
            what = "store" if isinstance(error, StoreUnavailable) else "provider"
            what = "cluster" if isinstance(error, ClusterUnreachable) else what
            return answers.outage(inbound, error, what, self._gate.request_id(inbound), status=503)
        if isinstance(error, RequestError):
            return self._bare(json_response(403, {"error": "forbidden", "message": error.public}))
        if isinstance(error, InvalidBearer):
            response = json_response(401, {"error": "invalid_token", "message": error.public})
            response.headers["WWW-Authenticate"] = answers.INVALID_TOKEN
            return self._bare(response)
        return self._refusing(dialect, inbound, Unauthorized())

    # Whoever else asks.

    async def _for_stranger(
        self, dialect: Dialect, request: web.BaseRequest, downstream: Downstream, sequence: int, began: float
    ) -> web.Response:
        """
        Whether there is a session on the Host's site; no token, and nothing that depends on a path.

        Raises:
            RequestError: as the gate.
        """
        facts = self._gate.facts.gather(request.raw_headers, HTTP11)
        inbound = Inbound(request, downstream, facts, "GET", "/", "/", sequence, began)
        status = await self._status_for_stranger(inbound)
        if status == 0 and not meets(restrictions(dialect, request.raw_path), inbound.live):
            status = 403
        if status == 403:
            self._gate.audit.denied(inbound, Forbidden(answers.NOT_ADMITTED), downstream.address)
        self._gate.logged(inbound, status or dialect.allow, 0, outcome="" if status else ALLOWED)
        if status == 0:
            return self._bare(web.Response(status=dialect.allow))
        response = json_response(status, {"error": "unauthorized" if status == 401 else "forbidden"})
        if status == 401:
            response.headers["WWW-Authenticate"] = answers.CHALLENGE
        return self._bare(response)

    async def _status_for_stranger(self, inbound: Inbound) -> int:
        facts = inbound.facts
        try:
            live = inbound.live = await self._gate.session(inbound)
        except (ProviderError, StoreUnavailable, ClusterUnreachable):
            return 503
        except OidcgateError:
            return 401
        if live is None:
            return 401
        is_ours = facts.how is not Crossing.FOREIGN and not facts.site.restricts
        return 0 if is_ours and live.permitted and admits(facts.site.config.access, live.claims) else 403

    def _bare(self, response: web.Response) -> web.Response:
        own_headers(response, secure=False)
        for name in ("Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "X-Frame-Options"):
            del response.headers[name]
        return response
