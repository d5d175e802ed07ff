"""
The UI: it can be reached the way the gate will, is what the configuration says, and heeds whose token comes along.

Edge by its calls.
"""

import json
from typing import Any, Final

from oidcgate.config.model import Route, Upstream
from oidcgate.doctor.calls import Seen
from oidcgate.doctor.reaching import Settings, certified, unreached
from oidcgate.doctor.report import Said, fail, ok, skip, warn
from oidcgate.doctor.scene import Scene, Visit, shown_by
from oidcgate.doctor.stages import Unreached
from oidcgate.net.probe import ignores_bearer
from oidcgate.net.upstream import parse_address

# What each UI answers to anybody, and what of it tells that it is the one.
QUESTIONS: Final = {
    "dashboard-2": ("/api/v1/login/status", "httpsMode"),
    "dashboard-7": ("/api/v1/me", "authenticated"),
    "headlamp": ("/config", "clusters"),
    "plain": ("/", ""),
}
# What needs a person's token, and nothing else.
PERSONAL: Final = {"dashboard-2": "/api/v1/namespace", "dashboard-7": "/api/v1/me"}


async def check_reached(scene: Scene, visit: Visit) -> list[Said]:
    """Every replica and every further service: name, connection, certificate and a first answer."""
    upstream = visit.config.upstream
    path = QUESTIONS[upstream.ui][0]
    routed = route_of(upstream, path)
    said: list[Said] = []
    for index, url in enumerate(upstream.urls):
        key = visit.key("upstream.url" if len(upstream.urls) == 1 else f"upstream.url[{index}]")
        said += await _service(scene, visit, url, key, asked=routed is None)
    for index, route in enumerate(upstream.routes):
        key = visit.key(f"upstream.routes[{index}].url")
        said += await _service(scene, visit, route.url, key, asked=route is routed)
    return said


def route_of(upstream: Upstream, path: str) -> Route | None:
    """The further service that serves a path, if it is not the UI's main one."""
    for route in upstream.routes:
        begin = route.path.removesuffix("*")
        if path == route.path or (begin != route.path and path.startswith(begin)):
            return route
    return None


async def _service(scene: Scene, visit: Visit, url: str, key: str, *, asked: bool) -> list[Said]:
    """
    One address.

    Args:
        asked: whether it is the one that can tell which UI this is.
    """
    way = visit.upstream_way(url)
    ui = visit.config.upstream.ui
    settings = Settings("the UI", key, visit.key("upstream.ca_file"), visit.key("upstream.server_name"))
    path, mark = QUESTIONS[ui if asked else "plain"]
    try:
        certificate = await scene.caller.reach(url, way)
        said = [] if certificate is None else [certified(certificate, scene.caller.clock(), settings)]
        if asked and ui == "dashboard-2" and (why := await _ignores(url)):
            return [fail(f"this Dashboard cannot be used so: {why}", key, "name its HTTPS port, 443 or 8443")]
        seen = await scene.caller.call(_address(url) + path, way)
    except Unreached as error:
        return [await unverified(error, scene, visit, url, settings)]
    return [*said, judge(seen, visit, url, mark, key)]


def _address(url: str) -> str:
    return "http://localhost" if url.startswith("unix:") else url.rstrip("/")


async def _ignores(url: str) -> str | None:
    address = parse_address(url)
    return None if address.secure else await ignores_bearer(address)


async def unverified(error: Unreached, scene: Scene, visit: Visit, url: str, settings: Settings) -> Said:
    """The finding about a UI that cannot be reached; a Dashboard's own certificate has ways of its own to fail."""
    if error.stage == "reply" and url.startswith("http:") and await shown_by(scene, f"https:{url[5:]}") is not None:
        return fail(f"{url} wants TLS", settings.address, "write https:// there")
    if error.stage != "tls":
        return unreached(error, settings)
    shown = await shown_by(scene, url, visit.config.upstream.server_name)
    names = shown.names if shown is not None else ()
    if error.reason != "self-signed":
        return unreached(error, settings, names=names)
    name = f" and server_name: {names[0]}" if names else ""
    return fail(
        f"{error}: it shows a certificate of its own",
        settings.ca,
        f"save that certificate (openssl s_client -connect …) and name its file{name}; a Dashboard that makes one "
        "at each start needs one that lasts (--tls-cert-file), or insecure_skip_verify: true",
    )


def judge(seen: Seen, visit: Visit, url: str, mark: str, key: str) -> Said:
    """The finding about the first answer."""
    ui = visit.config.upstream.ui
    if seen.status >= 500:
        return fail(f"{url} answers {seen.status}", key, "see the UI's log; what listens there cannot serve")
    if seen.status == 400 and b"HTTPS" in seen.body:
        return fail(f"{url} wants TLS", key, "write https:// there")
    if mark and seen.status not in (401, 403) and mark not in _object(seen):
        return warn(
            f"{url} does not answer as {ui} does ({seen.status})", visit.key("upstream.ui"), "name the UI that is there"
        )
    return ok(f"{url} answers ({seen.status})")


def _object(seen: Seen) -> dict[str, Any]:
    try:
        found = json.loads(seen.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def can_tell(visit: Visit) -> bool:
    """Whether a site's UI gets people's tokens and has something to ask with them."""
    return visit.config.identity == "token" and visit.config.upstream.ui in PERSONAL


async def check_identity(scene: Scene, visit: Visit) -> list[Said]:
    """The UI does something with a person's token."""
    upstream = visit.config.upstream
    path = PERSONAL[upstream.ui]
    raw, why_not = scene.token_for(visit)
    if why_not:
        return [skip(why_not)]
    try:
        route = route_of(upstream, path)
        url = upstream.urls[0] if route is None else route.url
        headers = {"Authorization": f"Bearer {raw}"}
        seen = await scene.caller.call(_address(url) + path, visit.upstream_way(url), headers=headers)
    except Unreached as error:
        return [fail(str(error), visit.key("upstream.url"), "see the UI's log")]
    return [judge_identity(seen, visit)]


def judge_identity(seen: Seen, visit: Visit) -> Said:
    """The finding about an answer to somebody with a token."""
    body = _object(seen)
    errors = body.get("errors") or []
    refused = seen.status == 401 or body.get("authenticated") is False or '"code": 401' in json.dumps(errors)
    if refused:
        return fail(
            f"the UI's API server does not take the token ({seen.status})",
            "kube-apiserver: its OIDC settings",
            "let the UI's API server trust the same issuer and client; with kubernetes.api the doctor says more",
        )
    if seen.status >= 500:
        return fail(f"the UI answers {seen.status} to a person", visit.key("upstream.url"), "see the UI's log")
    return ok("the UI takes the token")
