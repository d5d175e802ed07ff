"""The configuration as sites and issuers, and what a token may be shown to."""

from typing import Any

import pytest

from oidcgate.doctor.scene import Bearer
from oidcgate.errors import ConfigError
from tests.doctor.pieces import ISSUER, SITE, claims_of, scene_of

WIDE = {"url": "https://*.k8s.example.com", "upstream": {"url": []}}
OTHER = {
    "url": "https://other.example.com",
    "upstream": {"url": "https://x.internal"},
    "provider": {"client_id": "other", "client_secret_env": "X", "internal_url": "https://dex.svc"},
}


def several(*sites: dict[str, Any]) -> dict[str, Any]:
    """A configuration of some sites."""
    return {"sites": list(sites), "forward_auth": {"peers": ["10.0.0.1"]}}


async def test_issuers() -> None:
    """One for all sites that differ in nothing, one for each that does, with its own callback and keys."""
    scene = scene_of(several(SITE, OTHER))
    default, other = scene.issuers
    assert (default.label, other.label) == ("", "https://other.example.com")
    assert default.callback == "https://ui.example.com/oauth2/callback"
    assert other.callback == f"https://ui.example.com/oauth2/callback/{other.id}"
    assert default.key("internal_url") == "provider.internal_url"
    assert other.key("internal_url") == "sites[1].provider.internal_url"
    assert other.key("issuer") == "provider.issuer"
    assert scene.issuer_of(scene.visits[1]) is other
    await scene.close()


@pytest.mark.parametrize(
    ("url", "index", "name"),
    [
        pytest.param("https://ui.example.com", 0, "https://ui.example.com", id="site"),
        pytest.param("https://ui.example.com:443/", 0, "https://ui.example.com", id="otherwise-written"),
        pytest.param("https://*.k8s.example.com", 1, "https://*.k8s.example.com", id="wildcard"),
        pytest.param("https://a.b.k8s.example.com", 1, "https://a.b.k8s.example.com", id="below"),
    ],
)
def test_one_site(url: str, index: int, name: str) -> None:
    """By its address, or one below it."""
    (visit,) = scene_of(several(SITE, WIDE), site=url).visits
    assert (visit.index, visit.url) == (index, name)
    assert visit.key("url") == f"sites[{index}].url"


@pytest.mark.parametrize("url", ["https://k8s.example.com", "http://a.k8s.example.com", "https://x.example.org", "x"])
def test_no_such_site(url: str) -> None:
    """Usage, with what there is."""
    with pytest.raises(ConfigError) as caught:
        scene_of(several(SITE, WIDE), site=url)
    assert caught.value.problems[0].path == "--site"


def test_login_site_is_public() -> None:
    """Where logins end must be reached, also when another site is walked."""
    scene = scene_of(several(SITE, OTHER), site=OTHER["url"])
    assert [visit.url for visit in scene.public] == ["https://ui.example.com", "https://other.example.com"]
    assert [visit.url for visit in scene_of(several(SITE, OTHER)).public] == [SITE["url"], OTHER["url"]]


@pytest.mark.parametrize(
    ("audience", "token", "why_not"),
    [
        pytest.param("one", ("gate", "one"), "", id="its-own"),
        pytest.param(None, ("gate",), "", id="no-audience"),
        pytest.param("one", ("gate",), "not for one", id="the-client-alone"),
        pytest.param("one", ("gate", "one", "two"), "one, two", id="several"),
        pytest.param(None, ("gate", "two"), "two", id="of-another-cluster"),
    ],
)
def test_whom_a_token_is_shown_to(audience: str | None, token: tuple[str, ...], why_not: str) -> None:
    """A cluster that it is for, if it is for no other."""
    site = {**SITE, "provider": {"audience": audience}}
    scene = scene_of({"sites": [site]})
    scene.bearer = Bearer("raw", claims_of(audience=token), scene.issuers[0], "gate")
    raw, reason = scene.token_for(scene.visits[0])
    assert (raw, why_not in reason) == ("" if why_not else "raw", True)
    assert bool(reason) == bool(why_not)


def test_token_of_another_issuer() -> None:
    """It is shown to nobody."""
    scene = scene_of(several(SITE, OTHER))
    assert scene.token_for(scene.visits[0])[0] == ""
    scene.bearer = Bearer("raw", claims_of(), scene.issuers[1], "gate")
    assert "another issuer" in scene.token_for(scene.visits[0])[1]


def test_token_for_kubectl() -> None:
    """It is shown where the site has that client for kubectl, and nowhere if it is for others, too."""
    sites = [{**SITE, "kubectl": {"client_id": "kubectl"}, "provider": {"audience": "one"}}]
    sites.append({**SITE, "url": "https://two.example.com", "provider": {"audience": "two"}})
    scene = scene_of({"sites": sites})
    scene.bearer = Bearer("raw", claims_of(audience=("kubectl",)), scene.issuers[0], "kubectl")
    assert [scene.token_for(visit)[0] for visit in scene.visits] == ["raw", ""]
    scene.bearer = Bearer("raw", claims_of(audience=("kubectl", "x")), scene.issuers[0], "kubectl")
    assert [scene.token_for(visit)[0] for visit in scene.visits] == ["", ""]


def test_ways() -> None:
    """As the gate goes: its own way to the issuer, a socket, a certificate that is not checked."""
    upstream = {"upstream": {"url": "https://x", "insecure_skip_verify": True, "server_name": "y"}}
    scene = scene_of({"provider": {"internal_url": "https://dex.svc"}, "sites": [{**SITE, **upstream}]})
    assert scene.issuers[0].inside(f"{ISSUER}/token") == "https://dex.svc/token"
    way = scene.visits[0].upstream_way("https://x")
    assert (way.verify, way.server_name, way.path) == (False, "y", "")
    assert scene.visits[0].upstream_way("unix:/run/ui").path == "/run/ui"
