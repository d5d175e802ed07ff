"""
The browser's part: the site's name, the connection to it, and who answers there.

Edge by its calls. The doctor stands in for a browser, so it must be run where people's browsers could be.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from oidcgate.config.addresses import is_loopback
from oidcgate.doctor.calls import BROWSER, Seen
from oidcgate.doctor.reaching import Settings, certified, unreached
from oidcgate.doctor.report import Said, fail, ok, skip, warn
from oidcgate.doctor.scene import Scene, Visit
from oidcgate.doctor.stages import Unreached

SERVER = "oidcgate"
NO_ROUTE = (502, 503, 504)  # what proxies say when they do not reach what is behind them
A_HOST_BELOW = "any host below it: name one with --site"


async def check_name(scene: Scene, visit: Visit) -> list[Said]:
    """The host resolves from here."""
    origin = visit.origin
    if origin is None:
        return [skip(A_HOST_BELOW)]
    if is_loopback(origin.host):
        return [ok(f"{origin.host} is this machine")]
    try:
        addresses = await scene.caller.resolve(origin.host.strip("[]"), origin.port, BROWSER)
    except Unreached as error:
        todo = "give the host a DNS record that leads to the gate, or to the proxy before it"
        return [fail(str(error), visit.key("url"), todo)]
    return [ok(f"{origin.host} is {', '.join(addresses[:4])}")]


async def check_connection(scene: Scene, visit: Visit) -> list[Said]:
    """Something takes connections there, with a certificate that browsers accept."""
    assert visit.origin is not None
    ours = scene.config.tls is not None or visit.origin.scheme == "http"
    settings = Settings(f"the server of {visit.origin.host}", "listen" if ours else visit.key("url"))
    try:
        certificate = await scene.caller.reach(str(visit.origin), BROWSER)
    except Unreached as error:
        return [public_failure(error, visit, settings, own_tls=scene.config.tls is not None)]
    if certificate is None:
        return [ok(f"{visit.origin.authority} takes connections; http, which is for this machine only")]
    return [certified(certificate, scene.caller.clock(), settings)]


def public_failure(error: Unreached, visit: Visit, settings: Settings, *, own_tls: bool) -> Said:
    """The finding about an address that browsers would not open, either."""
    if error.stage == "tcp" and settings.address == "listen":
        todo = "start it (oidcgate serve), with a listener or a proxy at the site's port"
        return fail(f"{error}: the gate is not there", "listen", todo)
    if error.stage != "tls" or error.reason == "plain":
        return unreached(error, settings)
    key = "tls.cert_file" if own_tls else visit.key("url")
    whose = "in this file" if own_tls else "at the proxy that ends TLS before the gate"
    todo = {
        "mismatch": f"use a certificate for {visit.url} {whose}",
        "expired": f"renew the certificate {whose}",
        "early": f"renew the certificate {whose}, or set a wrong clock right",
    }.get(
        error.reason,
        f"serve the whole chain of an authority that browsers trust, {whose}; "
        "for an authority of your own set SSL_CERT_FILE to its certificate when you run the doctor",
    )
    return fail(str(error), key, todo)


async def check_gate(scene: Scene, visit: Visit) -> list[Said]:
    """What answers there is this gate."""
    config = scene.config
    if config.session.cookie.domain is not None and not visit.config.upstream.urls and visit.index != scene.login.index:
        return [skip("one cookie for all hosts: the gate's paths need no route on this one")]
    url = f"{visit.url}{config.prefix}/userinfo"
    try:
        seen = await scene.caller.call(url, BROWSER, headers={"Accept": "application/json"})
    except Unreached as error:
        return [unreached(error, Settings("the gate", visit.key("url")))]
    return [who_answers(seen, visit, prefix=config.prefix)]


def who_answers(seen: Seen, visit: Visit, *, prefix: str) -> Said:
    """The finding about a reply to a question that only a gate answers so."""
    server = seen.headers.get("Server", "")
    if seen.status == 401 and seen.headers.get("X-Oidcgate") == "sign-in":
        return ok(f"the gate answers at {visit.url}{prefix}/")
    if seen.status == 421 and (server == SERVER or "gate" in seen.text):
        return fail(
            "a gate answers, but it has no such site",
            visit.key("url"),
            "let the gate read this file (SIGHUP), and the proxy before it pass the Host as it came",
        )
    if server == SERVER and seen.status >= 500:
        return fail(
            f"the gate answers {seen.status}: {seen.text[:120].strip()}",
            "session.store",
            "see the gate's log and its /readyz",
        )
    name = f"{server or 'a server without a name'} answers {seen.status}"
    if seen.status in NO_ROUTE:
        return fail(
            f"{name}: the proxy before the gate does not reach it",
            "listen",
            "start the gate, and let the proxy pass requests to this address; the default is this machine's only",
        )
    if location := seen.headers.get("Location"):
        name += f" and sends browsers to {urlsplit(location).netloc or 'another path'}"
    return fail(
        f"{name}: that is not this gate",
        visit.key("url"),
        f"route {visit.url}/ to the gate; where another proxy carries the site, {visit.url}{prefix}/ at least",
    )


async def check_plain_http(scene: Scene, visit: Visit) -> list[Said]:
    """Whoever types the name without https is led there."""
    assert visit.origin is not None
    try:
        seen = await scene.caller.call(f"http://{visit.origin.host}/", BROWSER)
    except Unreached as error:
        return [plain_http(None, str(error), visit)]
    return [plain_http((seen.status, seen.headers), "", visit)]


def plain_http(reply: tuple[int, Mapping[str, str]] | None, why: str, visit: Visit) -> Said:
    """The finding about the same host without TLS."""
    key, todo = visit.key("url"), f"let the proxy before the gate send http:// to {visit.url}"
    if reply is None:
        return warn(f"http:// is not answered ({why}): browsers that try it first show an error", key, todo)
    status, headers = reply
    if 300 <= status < 400 and headers.get("Location", "").startswith(f"{visit.url}/"):
        return ok("http:// leads to https://")
    return warn(f"http:// is answered with {status}, without TLS", key, todo)
