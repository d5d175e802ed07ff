"""
An API server's double: it knows the demo issuer's tokens, answers reviews as kube-apiserver 1.34 does, and breaks.

What it says, word for word, was taken from the real one.
"""

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import jwt
from aiohttp import web

from oidcgate.demo.issuer import DemoIssuer
from oidcgate.kube.reviews import SELF_ACCESS_PATH, SELF_PATH, SELF_RULES_PATH, TOKEN_PATH
from tests.support.stack import Stack, merged

CREDENTIAL = "the-credential-of-the-gate"
UNAUTHORIZED = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": "Unauthorized",
    "reason": "Unauthorized",
    "code": 401,
}
BASIC_RULE = {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]}
ADDRESSES = {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/version"]}


@dataclass
class ApiServer:
    """
    The double, from `start` to `stop`.

    Attributes:
        audience, trusted: whom it takes tokens for, and from; None = the issuer of its own.
        prefix: before names of people and groups.
        rights: what groups (prefix included) may do: (verb, resource).
        status: answers in place of the review, by its path.
        skew: seconds that its clock is ahead.
        drops_tokens: as if something before it dropped Authorization.
        basic: whether everybody may ask who they are; takes_credential: whether the gate may act for people.
        held: while set, it does not answer; ``waiting`` is set once somebody waits.
        calls: how many came, by path; ``bodies`` what was asked, ``headers`` how.
    """

    issuer: DemoIssuer
    audience: str = "gate"
    trusted: str | None = None
    prefix: str = "oidc:"
    rights: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    raw: dict[str, bytes] = field(default_factory=dict)
    skew: float = 0.0
    drops_tokens: bool = False
    basic: bool = True
    takes_credential: bool = True
    held: asyncio.Event | None = None
    calls: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waiting = asyncio.Event()
        self.port = 0
        self.scheme = "http"
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen, again on the same port if it did before."""
        app = web.Application()
        app.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=tls, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]
        self.scheme = "http" if tls is None else "https"

    async def stop(self) -> None:
        """Be gone."""
        if self._runner is not None:
            if self.held is not None:
                self.held.set()
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> "ApiServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # Who somebody is.

    def judge(self, token: str) -> tuple[dict[str, Any] | None, str]:
        """The person of a token, or what a TokenReview says is wrong with it."""
        try:
            claims = self.issuer.keys.verify(token, issuer=self.issuer.url, expired=True)
        except jwt.InvalidTokenError:
            return None, "[invalid bearer token, oidc: verify token: failed to verify signature]"
        audience = [claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"]
        if claims["iss"] != (self.trusted or self.issuer.url):
            return None, "invalid bearer token"
        if self.audience not in audience:
            shown = json.dumps(audience).replace('"', '\\"')
            return None, f'[invalid bearer token, oidc: verify token: oidc: expected audience \\"gate\\" got {shown}]'
        if claims["exp"] < time.time() + self.skew:
            return None, "[invalid bearer token, oidc: verify token: oidc: token is expired (Token Expiry: …)]"
        groups = [self.prefix + group for group in claims.get("groups", ())]
        return {"username": self.prefix + claims["email"], "groups": [*groups, "system:authenticated"]}, ""

    async def _answer(self, request: web.Request) -> web.Response:
        path, body = request.path, await request.json()
        self.calls[path] += 1
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        if self.held is not None:
            self.waiting.set()
            await self.held.wait()
        if path in self.raw:
            return web.Response(body=self.raw[path], content_type="application/json", status=201)
        if path in self.status:
            return self._json({**UNAUTHORIZED, "message": "out for a test"}, self.status[path])
        return self._review(request, path, body)

    def _review(self, request: web.Request, path: str, body: dict[str, Any]) -> web.Response:
        token = request.headers.get("Authorization", "").partition(" ")[2]
        if path == TOKEN_PATH:
            return self._token_review(token, body)
        if self.drops_tokens or not token:
            return self._forbidden("system:anonymous")
        user, _ = self.judge(token) if token != CREDENTIAL else (self._impersonated(request), "")
        if user is None:
            return self._json(UNAUTHORIZED, 401)
        if not self.basic:
            return self._forbidden(user["username"])
        made = {SELF_PATH: self._self, SELF_ACCESS_PATH: self._access, SELF_RULES_PATH: self._rules}
        return self._json({**body, "metadata": {}, "status": made[path](user, body)}, 201)

    def _impersonated(self, request: web.Request) -> dict[str, Any] | None:
        """For whom the gate acts with its own credential."""
        name = request.headers.get("Impersonate-User")
        groups = [*request.headers.getall("Impersonate-Group", []), "system:authenticated"]
        return {"username": name, "groups": groups} if name and self.takes_credential else None

    def _token_review(self, token: str, body: dict[str, Any]) -> web.Response:
        if token != CREDENTIAL:
            return self._forbidden("oidc:somebody")
        user, error = self.judge(body["spec"]["token"])
        status = {"authenticated": True, "user": user} if user else {"user": {}, "error": error}
        return self._json({**body, "status": status}, 201)

    def _forbidden(self, name: str) -> web.Response:
        message = f'selfsubjectreviews.authentication.k8s.io is forbidden: User "{name}" cannot create resource'
        return self._json({**UNAUTHORIZED, "message": message, "reason": "Forbidden", "code": 403}, 403)

    def _self(self, user: dict[str, Any], _body: dict[str, Any]) -> dict[str, Any]:
        return {"userInfo": user}

    def _allowed(self, user: dict[str, Any]) -> set[tuple[str, str]]:
        return set().union(*(self.rights.get(group, set()) for group in user["groups"]))

    def _access(self, user: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        allowed = (asked["verb"], resource) in self._allowed(user)
        return {"allowed": True, "reason": "RBAC: allowed"} if allowed else {"allowed": False}

    def _rules(self, user: dict[str, Any], _body: dict[str, Any]) -> dict[str, Any]:
        named = sorted(self._allowed(user))
        rules = [{"verbs": [verb], "apiGroups": [""], "resources": [resource]} for verb, resource in named]
        return {"resourceRules": [BASIC_RULE, *rules], "nonResourceRules": [ADDRESSES, ADDRESSES], "incomplete": False}

    def _json(self, body: dict[str, Any], status: int) -> web.Response:
        headers = {"Date": formatdate(time.time() + self.skew, usegmt=True), "Cache-Control": "no-cache, private"}
        return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def clustered(
    *,
    site: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    credential: bool = False,
    **options: Any,
) -> AsyncIterator[tuple[Stack, ApiServer]]:
    """
    A stack whose site has an API server, of the same prefixes.

    Args:
        credential: whether the gate has one of its own, which may ask for TokenReviews.
        options: of the API server.
    """
    stack = Stack(config=merged({"session": {"store": "memory"}}, config or {}))
    async with ApiServer(stack.issuer, **options) as api:
        known: dict[str, Any] = {"api": api.url, "username_prefix": api.prefix, "groups_prefix": api.prefix}
        if credential:
            file = stack.folder / "credential"
            file.touch(0o600)
            file.write_text(CREDENTIAL)
            known["credential_file"] = str(file)
        stack._site = merged({"badge": False, "kubernetes": known}, site or {})
        async with stack:
            yield stack, api
