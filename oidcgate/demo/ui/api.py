"""
The Dashboard's REST API over the demo cluster, with RBAC. Edge: aiohttp server.

Shapes follow Dashboard 2.7.0 as far as the page needs them. Its manners that matter to whoever stands in
front: lists answer 200 with `errors[]` when the token is dead or the list is cluster-wide and forbidden;
everything else answers with a real 401 or 403; only POST is checked for a CSRF token, and that failure, too,
is a 401; `login/status` reports presence, not validity.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from oidcgate.demo.ui.access import Access, KubeError, not_found, unauthorized
from oidcgate.demo.ui.cluster import Cluster, Pod, timestamp
from oidcgate.demo.ui.evidence import Handler
from oidcgate.demo.ui.rbac import denial
from oidcgate.demo.ui.shells import Shells
from oidcgate.demo.ui.terminal import Place
from oidcgate.demo.ui.token import BearerExpired, BearerRefused, Caller

API: Final = "/api/v1"
LOG_LINES: Final = 100  # what one poll returns
CSRF_EXEMPT: Final = (f"{API}/echo",)  # the echo shows what arrived, whatever it was


class Csrf:
    """Tokens bound to an action, not to a person, as in the Dashboard."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, action: str) -> str:
        """The token for `action`, the first path element after api/v1."""
        return hmac.new(self._key, action.encode(), hashlib.sha256).hexdigest()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuses a POST to the API whose X-CSRF-TOKEN does not fit."""
        path = request.path
        if request.method == "POST" and path.startswith(API + "/") and path not in CSRF_EXEMPT:
            action = path.removeprefix(API + "/").partition("/")[0]
            sent = request.headers.get("X-CSRF-TOKEN", "")
            if not hmac.compare_digest(sent.encode(), self.token(action).encode()):
                return web.Response(status=401, text="CSRF validation failed")
        return await handler(request)


class Api:
    """The handlers. `https_mode` is what login/status claims."""

    def __init__(
        self,
        access: Access,
        cluster: Cluster,
        shells: Shells,
        csrf: Csrf,
        *,
        clock: Callable[[], float],
        https_mode: bool,
    ) -> None:
        self._access = access
        self._cluster = cluster
        self._shells = shells
        self._csrf = csrf
        self._clock = clock
        self._https_mode = https_mode

    def routes(self) -> list[web.RouteDef]:
        """The routes under /api/v1; those of `streams` must stand before them."""
        pod = API + "/pod/{namespace}/{pod}"
        return [
            web.get(API + "/login/status", self._login_status),
            web.get(API + "/csrftoken/{action}", self._csrf_token),
            web.get(API + "/me", self._me),
            web.get(API + "/namespace", self._namespaces),
            web.get(API + "/pod", self._pods),
            web.get(API + "/pod/{namespace}", self._pods),
            web.get(pod, self._pod),
            web.delete(pod, self._delete),
            web.get(pod + "/shell/{container}", self._shell),
            web.get(API + "/log/{namespace}/{pod}", self._log),
            web.get(API + "/log/{namespace}/{pod}/{container}", self._log),
        ]

    async def _login_status(self, request: web.Request) -> web.Response:
        user = request.headers.get("Impersonate-User", "")
        status = {
            "tokenPresent": "jweToken" in request.headers,
            "headerPresent": "Authorization" in request.headers,
            "httpsMode": self._https_mode,
            "impersonationPresent": user != "",
            "impersonatedUser": user,
        }
        return web.json_response(status)

    async def _csrf_token(self, request: web.Request) -> web.Response:
        return web.json_response({"token": self._csrf.token(request.match_info["action"])})

    async def _me(self, request: web.Request) -> web.Response:
        caller = await self._access.caller(request)
        visible = [ns for ns in self._cluster.namespaces if self._access.may(caller, "list", "pods", ns)]
        me = {
            "authenticated": True,
            "username": caller.username,
            "groups": list(caller.groups),
            "subject": caller.subject,
            "exp": caller.expires_at,
            "iat": caller.issued_at,
            "now": self._clock(),
            "namespaces": visible,
        }
        return web.json_response(me)

    async def _namespaces(self, request: web.Request) -> web.Response:
        caller, errors = await self._list_caller(request, "namespaces", "")
        names = self._cluster.namespaces if caller else ()
        items = [
            {
                "objectMeta": {"name": name, "creationTimestamp": timestamp(self._cluster.created)},
                "typeMeta": {"kind": "namespace"},
                "phase": "Active",
            }
            for name in names
        ]
        body = {"listMeta": {"totalItems": len(items)}, "namespaces": items, "errors": errors}
        return web.json_response(body)

    async def _pods(self, request: web.Request) -> web.Response:
        namespace = request.match_info.get("namespace", "").strip()
        caller, errors = await self._list_caller(request, "pods", namespace)
        pods = self._cluster.pods(namespace) if caller else []
        shown = _page(pods, request)
        body = {
            "listMeta": {"totalItems": len(pods)},
            "cumulativeMetrics": [],
            "status": _tally(pods),
            "pods": [_pod_json(pod) for pod in shown],
            "errors": errors,
        }
        return web.json_response(body)

    async def _pod(self, request: web.Request) -> web.Response:
        _, pod = await self._reach(request, "get", "pods")
        return web.json_response(_pod_json(pod) | {"podIP": pod.ip, "containers": [_container(pod)], "errors": []})

    async def _delete(self, request: web.Request) -> web.Response:
        _, pod = await self._reach(request, "delete", "pods")
        self._cluster.delete(pod)
        self._shells.pod_deleted(pod.namespace, pod.name)
        return web.Response()

    async def _shell(self, request: web.Request) -> web.Response:
        caller, pod = await self._reach(request, "create", "pods/exec")
        if request.match_info["container"] != pod.container:
            raise not_found("containers", request.match_info["container"])
        place = Place(pod.namespace, pod.name, pod.container, caller.username, caller.groups)
        return web.json_response({"id": self._shells.offer(place)})

    async def _log(self, request: web.Request) -> web.Response:
        _, pod = await self._reach(request, "get", "pods/log")
        lines = self._cluster.log(pod, LOG_LINES)
        logs = [dict(zip(("timestamp", "content"), line.split(" ", 1), strict=True)) for line in lines]
        info = {
            "podName": pod.name,
            "containerName": pod.container,
            "initContainerName": "",
            "fromDate": logs[0]["timestamp"] if logs else "",
            "toDate": logs[-1]["timestamp"] if logs else "",
            "truncated": False,
        }
        return web.json_response({"info": info, "selection": {"logFilePosition": "end"}, "logs": logs})

    async def _list_caller(
        self, request: web.Request, resource: str, namespace: str
    ) -> tuple[Caller | None, list[dict[str, Any]]]:
        """
        Who may see this list, or nobody and the 2.7 style errors; raises KubeError for what is not told that
        way.
        """
        try:
            caller = await self._access.bearer(request)
        except BearerExpired:
            return None, [{"ErrStatus": unauthorized().status()}]
        except BearerRefused as error:
            raise unauthorized() from error
        if namespace:
            self._access.demand(caller, "list", resource, namespace=namespace)
        elif not self._access.may(caller, "list", resource):
            refusal = KubeError(403, "Forbidden", denial(caller, "list", resource))
            return None, [{"ErrStatus": refusal.status()}]
        return caller, []

    async def _reach(self, request: web.Request, verb: str, resource: str) -> tuple[Caller, Pod]:
        return await reach(self._access, self._cluster, request, verb, resource)


async def reach(access: Access, cluster: Cluster, request: web.Request, verb: str, resource: str) -> tuple[Caller, Pod]:
    """The caller, who may, and the pod that the path names; raises KubeError 401, 403, 404, in that order."""
    caller = await access.caller(request)
    namespace, name = request.match_info["namespace"], request.match_info["pod"]
    access.demand(caller, verb, resource, namespace=namespace, name=name)
    pod = cluster.pod(namespace, name)
    if pod is None:
        raise not_found("pods", name)
    return caller, pod


def _page(pods: list[Pod], request: web.Request) -> list[Pod]:
    """
    The page of `pods` that itemsPerPage, page (from 1) and sortBy (`a,name`, `d,creationTimestamp`) ask for.
    """
    order, _, by = request.query.get("sortBy", "").partition(",")
    if by == "name":
        pods = sorted(pods, key=lambda pod: pod.name, reverse=order == "d")
    elif by == "creationTimestamp":
        pods = sorted(pods, key=lambda pod: pod.created, reverse=order == "d")
    size, page = (request.query.get(name, "") for name in ("itemsPerPage", "page"))
    if not size.isdecimal() or int(size) == 0:
        return pods
    start = (max(int(page), 1) - 1 if page.isdecimal() else 0) * int(size)
    return pods[start : start + int(size)]


def _tally(pods: list[Pod]) -> dict[str, int]:
    count = dict.fromkeys(("running", "pending", "failed", "succeeded"), 0)
    words = {"Running": "running", "Pending": "pending", "Completed": "succeeded"}
    for pod in pods:
        count[words.get(pod.status, "failed")] += 1
    return count


def _pod_json(pod: Pod) -> dict[str, Any]:
    return {
        "objectMeta": {
            "name": pod.name,
            "namespace": pod.namespace,
            "labels": {"app": pod.app},
            "creationTimestamp": timestamp(pod.created),
        },
        "typeMeta": {"kind": "pod"},
        "status": pod.status,
        "restartCount": pod.restarts,
        "metrics": None,
        "warnings": [],
        "nodeName": pod.node,
        "containerImages": [pod.image],
    }


def _container(pod: Pod) -> dict[str, Any]:
    return {"name": pod.container, "image": pod.image, "env": [], "commands": ["/app/server"], "args": []}
