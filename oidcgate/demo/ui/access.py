"""
The door of the demo API: bearer in, caller or refusal out. Edge: aiohttp server.

The prefix `Bearer ` is compared exactly, as Dashboard 2.7 does; anything else counts as no token.
Refusals are kube-apiserver's Status objects: 401 without WWW-Authenticate, 403 with the full sentence.
"""

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from oidcgate.demo.ui.evidence import Handler
from oidcgate.demo.ui.rbac import Rule, allows, denial
from oidcgate.demo.ui.token import BearerRefused, BearerVerifier, Caller


class KubeError(Exception):
    """A refusal in the API server's words. `code` is the HTTP status, `reason` its CamelCase name."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message

    def status(self) -> dict[str, Any]:
        """The Kubernetes Status object."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }


def unauthorized() -> KubeError:
    """What the API server says without a good token: never why."""
    return KubeError(401, "Unauthorized", "Unauthorized")


def not_found(resource: str, name: str) -> KubeError:
    """What the API server says of an object that does not exist."""
    return KubeError(404, "NotFound", f'{resource} "{name}" not found')


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns a KubeError into its reply."""
    try:
        return await handler(request)
    except KubeError as error:
        headers = {"Cache-Control": "no-cache, private", "X-Content-Type-Options": "nosniff"}
        return web.json_response(error.status(), status=error.code, headers=headers)


class Access:
    """Authentication and authorisation in front of every handler that needs them."""

    def __init__(self, verifier: BearerVerifier, rules: Iterable[Rule]) -> None:
        self._verifier = verifier
        self._rules = tuple(rules)

    async def bearer(self, request: web.Request) -> Caller:
        """The caller; raises KubeError 401 without a token, BearerRefused with one that is not good."""
        authorization = request.headers.get("Authorization", "")
        if not authorization.startswith("Bearer "):
            raise unauthorized()
        return await self._verifier.verify(authorization.removeprefix("Bearer "))

    async def caller(self, request: web.Request) -> Caller:
        """The caller; raises KubeError 401."""
        try:
            return await self.bearer(request)
        except BearerRefused as error:
            raise unauthorized() from error

    def may(self, caller: Caller, verb: str, resource: str, namespace: str = "") -> bool:
        """True if the rules allow it."""
        return allows(self._rules, caller, verb, resource, namespace)

    def demand(self, caller: Caller, verb: str, resource: str, *, namespace: str = "", name: str = "") -> None:
        """Raises KubeError 403 unless the rules allow it."""
        if not self.may(caller, verb, resource, namespace):
            raise KubeError(403, "Forbidden", denial(caller, verb, resource, namespace, name))
