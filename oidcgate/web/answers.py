"""
The gate's own answers, in the form that was asked for: a page for people, JSON (or the UI's words) for programs.

Edge: aiohttp responses. Rules of this file:
- No answer without a session sets a cookie or names what lies behind.
- An outage says when to come back and touches nothing.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from oidcgate.errors import (
    AudienceRefused,
    OidcgateError,
    RequestError,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from oidcgate.kube.impersonation import NotImpersonated
from oidcgate.oidc.claims import Claims
from oidcgate.policy import Forbidden
from oidcgate.web import texts
from oidcgate.web.guard import UpstreamIgnoresBearer
from oidcgate.web.outgoing import CredentialUnusable
from oidcgate.web.pages import Action, Draft, Frame, Page, json_response, own_headers, redirect

if TYPE_CHECKING:
    from oidcgate.web.facts import Inbound

OwnPages = Callable[["Inbound"], Awaitable[web.Response]]

CHALLENGE = 'Bearer realm="oidcgate"'
INVALID_TOKEN = CHALLENGE + ', error="invalid_token"'  # RFC 6750 §3.1
RETRY_AFTER = 5  # seconds
# Reasons of Forbidden, which name a text each.
CROSSED = "crossed"
NOT_ADMITTED = "not admitted"
NOT_PERMITTED = "not permitted"
RULE = "rule"
DENIALS = {
    CROSSED: texts.FOREIGN,
    NOT_ADMITTED: texts.DENIED,
    NOT_PERMITTED: texts.DENIED_PERMISSION,
    RULE: texts.DENIED_RULE,
}
OUTAGES = {"store": texts.STORE_DOWN, "provider": texts.PROVIDER_DOWN, "cluster": texts.CLUSTER_DOWN}


def finished(inbound: "Inbound", response: web.Response, request_id: str = "") -> web.Response:
    """
    Add what every own answer has; a body that was not read ends the connection.

    Args:
        request_id: for the foot of a page.
    """
    if isinstance(response, Draft):
        response.dress(Frame(inbound.facts.site.look, note(request_id) if request_id else ""))
    own_headers(response, secure=inbound.facts.site.secure)
    if inbound.facts.head.upgrade or (inbound.facts.head.has_body and not inbound.request.content.is_eof()):
        response.force_close()
    return response


def note(request_id: str) -> str:
    """The line at the foot of a page, by which its request is found in the log."""
    return texts.REQUEST.format(request_id)


def known_of(claims: Claims) -> list[tuple[str, str]]:
    """What a page tells people of themselves; an empty value is not shown."""
    return [(texts.SIGNED_IN_AS, claims.email or claims.subject), (texts.GROUPS, ", ".join(claims.groups))]


def to_login(inbound: "Inbound", prefix: str) -> web.Response:
    """302 to ``/start``; the browser carries the fragment along by itself."""
    location = f"{inbound.facts.site.origin}{prefix}/start?rd={quote(inbound.target, safe='')}"
    return finished(inbound, redirect(location))


def unauthorized(inbound: "Inbound", *, canned: bool = True, challenge: str = CHALLENGE) -> web.Response:
    """
    401 in the words that the UI understands; never a redirect, never a cookie.

    Args:
        canned: whether what the preset answers by itself is answered with 200; to a proxy that asks, 200 means yes.
    """
    preset = inbound.facts.site.preset
    body = preset.answered.get(inbound.path) if canned else None
    if body is not None and inbound.method in ("GET", "HEAD"):
        return finished(inbound, web.Response(body=body, content_type="application/json"))
    response = web.Response(status=401, body=preset.unauthorized, content_type=preset.unauthorized_type)
    response.headers["WWW-Authenticate"] = challenge
    response.headers["X-Oidcgate"] = "sign-in"
    return finished(inbound, response)


def sentence_of(decision: Forbidden) -> str:
    """What a refusal says to people."""
    return DENIALS.get(decision.reason, ("", decision.reason))[1]


def forbidden(inbound: "Inbound", decision: Forbidden, prefix: str, request_id: str) -> web.Response:
    """403: a page that says who one is, or JSON."""
    heading, sentence = DENIALS.get(decision.reason, (texts.DENIED[0], decision.reason))
    if not inbound.navigates or inbound.live is None:
        return finished(inbound, json_response(403, {"error": "forbidden", "message": sentence, "request": request_id}))
    who = known_of(inbound.live.claims)
    actions = [Action(texts.SOMEBODY_ELSE, f"{prefix}/sign_out", quiet=decision.reason == RULE)]
    if decision.reason == RULE:
        actions.insert(0, Action(texts.OPEN, "/"))
    if decision.reason == CROSSED:
        actions = [Action(texts.OPEN, "/")]
    else:
        actions.append(Action(texts.WHY, f"{prefix}/access", quiet=True))
    return finished(inbound, Page(heading, sentence, actions=actions, facts=who).response(403), request_id)


def elsewhere(inbound: "Inbound", prefix: str, request_id: str) -> web.Response:
    """421: this site's requests are carried by another proxy (RFC 9110 §15.5.20); its ``/`` is where logins land."""
    heading, sentence = texts.ELSEWHERE
    if inbound.path == "/" and inbound.navigates:
        return finished(inbound, redirect(f"{inbound.facts.site.origin}{prefix}/"))
    if inbound.navigates:
        actions = [Action(texts.MY_SIGN_IN, f"{prefix}/", quiet=True)]
        return finished(inbound, Page(heading, sentence, actions=actions).response(421), request_id)
    return finished(inbound, json_response(421, {"error": "misdirected", "message": sentence, "request": request_id}))


def refusal(inbound: "Inbound", error: RequestError, request_id: str) -> web.Response:
    """A client's mistake."""
    if inbound.navigates:
        response: web.Response = Page(texts.BAD_REQUEST[0], error.public).response(error.status)
    else:
        response = json_response(error.status, {"error": "bad_request", "message": error.public, "request": request_id})
    if error.status == 426:
        response.headers["Sec-WebSocket-Version"] = "13"
    return finished(inbound, response, request_id)


def plain_refusal(error: RequestError, request_id: str) -> web.Response:
    """A request that has no usable facts: a short text, and the end of the connection."""
    response = web.Response(status=error.status, text=f"{error.public}\n{note(request_id)}\n")
    own_headers(response, secure=False)
    response.force_close()
    return response


def _meanwhile(inbound: "Inbound") -> web.Response | None:
    """What the UI's script is told in place of an outage that it would take for the end of the login."""
    body = inbound.facts.site.preset.meanwhile.get(inbound.path)
    if body is None or inbound.method not in ("GET", "HEAD"):
        return None
    return finished(inbound, web.Response(body=body, content_type="application/json"))


def outage(
    inbound: "Inbound", error: OidcgateError, what: str, request_id: str, *, status: int | None = None
) -> web.Response:
    """503 with Retry-After: nobody is signed out, and a page comes back by itself."""
    preset = inbound.facts.site.preset
    if status is None and inbound.facts.handle is not None and (known := _meanwhile(inbound)) is not None:
        return known
    shown_to_scripts = status or (preset.outage_status if error.status == 503 else error.status)
    status = status or error.status
    heading, sentence = OUTAGES[what]
    if isinstance(error, AudienceRefused):
        sentence = error.public
    if inbound.facts.opens_page and not inbound.is_api:
        response: web.Response = Page(heading, sentence, refresh=RETRY_AFTER).response(status)
    else:
        response = json_response(
            shown_to_scripts, {"error": f"{what}_unavailable", "message": error.public, "request": request_id}
        )
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return finished(inbound, response, request_id)


def upstream_failure(inbound: "Inbound", error: UpstreamError, request_id: str) -> web.Response:
    """502 or 504, told apart by what happened."""
    is_passing = isinstance(error, UpstreamUnreachable | UpstreamTimeout)
    if is_passing and inbound.live is not None and (known := _meanwhile(inbound)) is not None:
        return known
    if isinstance(error, UpstreamIgnoresBearer):
        name, heading, sentence = (
            "upstream_ignores_identity",
            texts.UPSTREAM_BROKEN[0],
            texts.WITH_REASON.format(error.public, error),
        )
    elif isinstance(error, NotImpersonated | CredentialUnusable):
        name, heading, sentence = "not_impersonated", texts.NOT_IN_THIS_NAME, error.public
    elif isinstance(error, UpstreamTimeout):
        name, (heading, sentence) = "upstream_timeout", texts.UPSTREAM_SLOW
    elif isinstance(error, UpstreamUnreachable):
        name, (heading, sentence) = "upstream_unreachable", texts.UPSTREAM_DOWN
    else:
        name, (heading, sentence) = "upstream_broken", texts.UPSTREAM_BROKEN
    if inbound.navigates:
        actions = [Action(texts.TRY_AGAIN, inbound.target if inbound.target.startswith("/") else "/")]
        return finished(inbound, Page(heading, sentence, actions=actions).response(error.status), request_id)
    return finished(
        inbound, json_response(error.status, {"error": name, "message": error.public, "request": request_id})
    )
