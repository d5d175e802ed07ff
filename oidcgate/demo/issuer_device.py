"""
The demo issuer's device flow: a program without a browser asks for a code, a person types it in elsewhere.

Edge: aiohttp server.
As Dex v2.45.1 has it (server/deviceflowhandlers.go): whoever asks is not authenticated until the person comes back, the
first poll may come at once, each one that is too early adds five seconds, and a code that is done stays redeemable. A
token set is sent without a Content-Type, which Go then guesses to be ``text/plain``.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web
from multidict import MultiDictProxy

from oidcgate.demo.issuer_authorization import Refused
from oidcgate.demo.issuer_endpoints import document_reply, fields, guarded, html, parameters, redirect
from oidcgate.demo.issuer_grants import TokenProblem
from oidcgate.demo.issuer_model import DEVICE_CALLBACK
from oidcgate.demo.issuer_pages import device_done_page, device_page
from oidcgate.demo.issuer_state import IssuerState
from oidcgate.demo.issuer_tokens import challenge_of, new_id

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL = 5  # seconds
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, so no words


@dataclass
class DeviceRequest:
    """What a program waits for; ``tokens`` is the answer, once the person has signed in."""

    user_code: str
    client_id: str
    client_secret: str
    scopes: str
    challenge: str
    challenge_method: str
    until: float
    polled: float
    interval: int = 0
    tokens: bytes = b""


class Device:
    """The endpoints of the flow, and its grant at the token endpoint."""

    def __init__(self, state: IssuerState) -> None:
        self.state = state
        self._requests: dict[str, DeviceRequest] = {}
        state.further_grants[DEVICE_GRANT] = self.poll

    def routes(self) -> Iterable[web.RouteDef]:
        """All of them."""
        for tail, name, handler in (
            ("/device", "device", self.page),
            ("/device/code", "device:code", self.code),
            ("/device/auth/verify_code", "device:verify", self.verify),
            (DEVICE_CALLBACK, "device:callback", self.callback),
        ):
            yield web.route("*", self.state.path + tail, guarded(self.state, name, handler))

    def forget(self) -> None:
        """Lose all codes."""
        self._requests.clear()

    async def code(self, request: web.Request) -> web.Response:
        """RFC 8628 §3.1 and §3.2."""
        if request.method != "POST":
            raise TokenProblem(400, "invalid_request")
        form = await fields(request)
        method = form.get("code_challenge_method") or "plain"
        if method not in ("S256", "plain"):
            raise TokenProblem(400, "invalid_request", f"Unsupported PKCE challenge method ({json.dumps(method)}).")
        now, device_code = self.state.now(), new_id()
        user_code = "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(2))
        self._requests[device_code] = DeviceRequest(
            user_code=user_code,
            client_id=form.get("client_id", ""),
            client_secret=form.get("client_secret", ""),
            scopes=form.get("scope", "") or "openid",
            challenge=form.get("code_challenge", ""),
            challenge_method=method,
            until=now + self.state.device_life,
            polled=now,
        )
        where = f"{self.state.url}/device"
        body = {
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": where,
            "verification_uri_complete": f"{where}?user_code={user_code}",
            "expires_in": int(self.state.device_life),
            "interval": INTERVAL,
        }
        return document_reply(body, headers={"Cache-Control": "no-store"})

    async def page(self, request: web.Request) -> web.Response:
        """The form for the code."""
        if request.method != "GET":
            raise Refused(400, "Requested resource does not exist.")
        return self._page(request.query.get("user_code", ""))

    async def verify(self, request: web.Request) -> web.Response:
        """The form's answer; a good code leads on to the sign-in."""
        user_code = (await parameters(request)).get("user_code", "").upper()
        if request.method != "POST" or not user_code:
            raise Refused(400, "No user code received")
        waiting = self._find(user_code)
        if waiting is None:
            return self._page(user_code, invalid=True)
        query = {
            "client_id": waiting.client_id,
            "redirect_uri": DEVICE_CALLBACK,
            "response_type": "code",
            "scope": waiting.scopes,
            "state": waiting.user_code,
        }
        return redirect(302, f"{self.state.path}/auth?{urlencode(query)}")

    async def callback(self, request: web.Request) -> web.Response:
        """The end of the sign-in: the program may have its tokens."""
        user_code, code = request.query.get("state", ""), request.query.get("code", "")
        if not user_code or not code:
            raise Refused(400, "Request was missing parameters")
        waiting = self._find(user_code)
        if waiting is None:
            raise Refused(400, "Invalid or expired user code.")
        client = self.state.clients.get(waiting.client_id)
        if client is None or (client.secret or "") != waiting.client_secret:
            raise TokenProblem(401, "invalid_client", "Invalid client credentials.")
        code, grant = self.state.codes.check({"code": code, "redirect_uri": DEVICE_CALLBACK}, client)
        self.state.codes.claim(code)
        refresh_token = self.state.refresh_tokens.issue(grant) if "offline_access" in grant.scopes else None
        waiting.tokens = json.dumps(self.state.token_set(grant, code=code, refresh_token=refresh_token)).encode()
        return html(device_done_page(client.name or client.id))

    async def poll(self, form: MultiDictProxy[str]) -> web.Response:
        """RFC 8628 §3.4 and §3.5."""
        waiting = self._requests.get(form.get("device_code", ""))
        if waiting is None:
            raise TokenProblem(400, "invalid_request", "Invalid Device code.")
        now = self.state.now()
        if now > waiting.until:
            raise TokenProblem(400, "expired_token")
        if not waiting.tokens:
            is_early = now < waiting.polled + waiting.interval
            waiting.interval = waiting.interval + INTERVAL if is_early else INTERVAL
            waiting.polled = now
            raise TokenProblem(400, "slow_down" if is_early else "authorization_pending")
        _check_verifier(waiting, form.get("code_verifier", ""))
        return web.Response(body=waiting.tokens, content_type="text/plain", charset="utf-8")

    def _find(self, user_code: str) -> DeviceRequest | None:
        found = (one for one in self._requests.values() if one.user_code == user_code)
        return next((one for one in found if self.state.now() <= one.until), None)

    def _page(self, user_code: str, *, invalid: bool = False) -> web.Response:
        action = f"{self.state.path}/device/auth/verify_code"
        return html(device_page(action, user_code, invalid=invalid))


def _check_verifier(waiting: DeviceRequest, verifier: str) -> None:
    if verifier and not waiting.challenge:
        raise TokenProblem(400, "invalid_request", "No PKCE flow started. Cannot check code_verifier.")
    if waiting.challenge and not verifier:
        raise TokenProblem(400, "invalid_grant", "Expecting parameter code_verifier in PKCE flow.")
    if verifier and challenge_of(verifier, waiting.challenge_method) != waiting.challenge:
        raise TokenProblem(400, "invalid_grant", "Invalid code_verifier.")
