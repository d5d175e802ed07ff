"""Which hops a configuration has, and what they stand on."""

from typing import Any

from oidcgate.doctor.device import Terminal
from oidcgate.doctor.plan import make_plan
from oidcgate.doctor.walk import Check
from tests.doctor.pieces import SITE, scene_of

API = {"kubernetes": {"api": "https://api.internal"}}


def planned(change: dict[str, Any], **options: Any) -> dict[tuple[str, str], Check]:
    """The checks by hop and site."""
    plan = make_plan(scene_of(change, **options), Terminal(print))
    checks = {(check.hop, check.site): check for check in plan}
    assert len(checks) == len(plan)
    for number, check in enumerate(plan):
        known = [(each.hop, each.site) for each in plan[:number]]
        assert all(need in known for need in check.needs if need in checks), check
    return checks


def hops(checks: dict[tuple[str, str], Check], site: str) -> list[str]:
    """The hops of a site."""
    return [hop for hop, of in checks if of == site]


def test_plain_site() -> None:
    """Without an API server there are fewer."""
    checks = planned({})
    assert hops(checks, SITE["url"]) == ["name", "connection", "gate", "redirect", "ui"]
    assert hops(checks, "")[:6] == ["configuration", "issuer", "discovery", "keys", "client", "secret"]


def test_sites_of_several_kinds() -> None:
    """Each has what belongs to it."""
    carried = {"url": "https://two.example.com:8443", "upstream": {"url": []}}
    other = {
        **SITE,
        **API,
        "upstream": {"url": "https://ui.internal", "ui": "dashboard-2"},
        "url": "https://three.example.com",
        "provider": {"client_id": "other", "audience": "three"},
    }
    checks = planned({"sites": [SITE, carried, other], "forward_auth": {"peers": ["10.0.0.1"]}})
    assert hops(checks, carried["url"]) == ["name", "connection", "gate"]
    assert hops(checks, other["url"]) == [
        "name",
        "connection",
        "gate",
        "redirect",
        "issuer",
        "discovery",
        "keys",
        "client",
        "secret",
        "audience",
        "token",
        "api-server",
        "api-identity",
        "ui",
        "ui-identity",
    ]
    assert checks["api-identity", other["url"]].needs == (("api-server", other["url"]), ("token", other["url"]))


def test_a_token_needs_no_secret() -> None:
    """Whether it was given or signed in for."""
    for options in ({"raw": "t"}, {"wants_login": True}):
        needs = {hop for hop, _ in planned({}, **options)["token", ""].needs}
        assert needs == {"keys", "clock", "client", "audience"}


def test_offline() -> None:
    """A store elsewhere is the network's."""
    assert planned({})["store", ""].offline
    redis = {"session": {"store": "redis://redis.internal", "keys_file": "/keys"}}
    assert not planned(redis)["store", ""].offline
