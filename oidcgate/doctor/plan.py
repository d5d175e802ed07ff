"""
Which hops there are, in which order, and what each stands on.

Pure: it binds checks to sites and issuers and runs none.
"""

from functools import partial

from oidcgate.config.addresses import is_loopback
from oidcgate.doctor import browser, client, clocks, cluster, cookies, forwarding, issuer, storage, token, ui
from oidcgate.doctor.device import Terminal
from oidcgate.doctor.report import Said, ok
from oidcgate.doctor.scene import Issuer, Scene, Visit
from oidcgate.doctor.walk import Check


def make_plan(scene: Scene, terminal: Terminal) -> list[Check]:
    """All checks of a walk."""
    checks = [Check("configuration", "", partial(_configuration, scene), offline=True)]
    for visit in scene.public:
        checks += _way_in(scene, visit)
    for each in scene.issuers:
        checks += _issuer(scene, each)
    checks.append(Check("clock", "", partial(clocks.check_clocks, scene)))
    for visit in scene.visits:
        if scene.audience_of(visit):
            checks.append(_audience(scene, visit))
    for each in scene.issuers:
        checks.append(_token(scene, each, terminal))
    for visit in scene.visits:
        checks += [*_cluster(scene, visit), *_ui(scene, visit)]
    return [
        *checks,
        Check("cookie", "", partial(cookies.check_cookies, scene), offline=True),
        Check(
            "store", "", partial(storage.check_store, scene), offline=not scene.config.session.store.startswith("redis")
        ),
        Check("keyring", "", partial(storage.check_keys, scene), offline=True),
        Check("forward-auth", "", partial(forwarding.check_peers, scene), offline=True),
    ]


async def _configuration(scene: Scene) -> list[Said]:
    count = len(scene.config.sites)
    return [ok(f"{count} site{'s' if count > 1 else ''}, provider {scene.config.provider.issuer}")]


def _way_in(scene: Scene, visit: Visit) -> list[Check]:
    url = visit.url
    name, connection = ("name", url), ("connection", url)
    checks = [
        Check("name", url, partial(browser.check_name, scene, visit)),
        Check("connection", url, partial(browser.check_connection, scene, visit), (name,)),
        Check("gate", url, partial(browser.check_gate, scene, visit), (connection,)),
    ]
    origin = visit.origin
    if origin is not None and origin.scheme == "https" and origin.port == 443 and not is_loopback(origin.host):
        checks.append(Check("redirect", url, partial(browser.check_plain_http, scene, visit), (connection,)))
    return checks


def _issuer(scene: Scene, each: Issuer) -> list[Check]:
    label = each.label
    reached, discovery = ("issuer", label), ("discovery", label)
    return [
        Check("issuer", label, partial(issuer.check_reached, scene, each)),
        Check("discovery", label, partial(issuer.check_discovery, scene, each), (reached,)),
        Check("keys", label, partial(issuer.check_keys, scene, each), (discovery,)),
        Check("client", label, partial(client.check_client, scene, each), (discovery,)),
        Check("secret", label, partial(client.check_secret, scene, each), (("client", label),)),
    ]


def _audience(scene: Scene, visit: Visit) -> Check:
    needs = (("client", scene.issuer_of(visit).label),)
    return Check("audience", visit.url, partial(client.check_audience, scene, visit), needs)


def _token(scene: Scene, each: Issuer, terminal: Terminal) -> Check:
    label = each.label
    needs = [("keys", label), ("clock", ""), ("client", label), *(("audience", visit.url) for visit in each.visits)]
    return Check("token", label, partial(token.check_token, scene, each, terminal), tuple(needs), waits=True)


def _cluster(scene: Scene, visit: Visit) -> list[Check]:
    if visit.config.kubernetes is None:
        return []
    reached, token_hop = ("api-server", visit.url), ("token", scene.issuer_of(visit).label)
    checks = [Check("api-server", visit.url, partial(cluster.check_reached, scene, visit))]
    if visit.config.identity == "token":
        run = partial(cluster.check_identity, scene, visit)
        checks.append(Check("api-identity", visit.url, run, (reached, token_hop)))
    elif visit.config.identity == "impersonate":
        checks.append(Check("credential", visit.url, partial(cluster.check_credential, scene, visit), (reached,)))
    return checks


def _ui(scene: Scene, visit: Visit) -> list[Check]:
    if not visit.config.upstream.urls:
        return []
    url = visit.url
    checks = [Check("ui", url, partial(ui.check_reached, scene, visit))]
    if ui.can_tell(visit):
        needs = (("ui", url), ("token", scene.issuer_of(visit).label), ("api-identity", url))
        checks.append(Check("ui-identity", url, partial(ui.check_identity, scene, visit), needs))
    return checks
