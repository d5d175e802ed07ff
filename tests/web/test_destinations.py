"""Where a login may lead: the configured hosts, those below a wildcard, and ``return_hosts``; nothing else."""

import re
from pathlib import Path
from typing import Any

import pytest

from oidcgate.config.load import parse_config
from oidcgate.returnto import Destination
from oidcgate.web.destinations import LOGIN_PATHS, Destinations
from oidcgate.web.providers import Providers
from oidcgate.web.site import make_site, make_table
from tests.corpora.redirects import redirects
from tests.test_returnto import absolutes

UI = {"upstream": {"url": "http://127.0.0.1:2"}}
SITES = [
    {"url": "https://auth.example.com", **UI},
    {"url": "https://one.example.com:8443", **UI},
    {"url": "http://local.localhost", **UI},
    {"url": "https://*.k8s.example.com"},
]
OWN = "https://auth.example.com"


def destinations(sites: list[dict[str, Any]] | None = None, *, return_hosts: tuple[str, ...] = ()) -> Destinations:
    """Of a configuration."""
    config = parse_config(
        {
            "provider": {"issuer": "http://localhost:1/dex", "client_id": "gate"},
            "sites": sites or SITES,
            "forward_auth": {"peers": ["10.0.0.1"], "return_hosts": list(return_hosts)},
        },
        folder=Path("."),
    )
    providers = Providers(config)
    table = make_table(config, [make_site(config, site, providers) for site in config.sites])
    return Destinations(table, return_hosts=config.forward_auth.return_hosts, prefix=config.prefix)


@pytest.mark.parametrize(
    ("text", "origin", "path"),
    [
        ("/a?b", OWN, "/a?b"),
        ("", OWN, "/"),
        ("a", OWN, "/"),
        ("//evil.example", OWN, "/"),
        (f"{OWN}/a", OWN, "/a"),
        ("https://auth.example.com:443/a", OWN, "/a"),
        ("https://one.example.com:8443/a?b", "https://one.example.com:8443", "/a?b"),
        ("http://local.localhost/a", "http://local.localhost", "/a"),
        ("http://local.localhost:80/a", "http://local.localhost", "/a"),
        ("https://x.k8s.example.com/a", "https://x.k8s.example.com", "/a"),
        ("https://y.x.k8s.example.com", "https://y.x.k8s.example.com", "/"),
        ("https://x.k8s.example.com:443/a", "https://x.k8s.example.com", "/a"),
        ("https://x.k8s.example.com//evil.example", "https://x.k8s.example.com", "/"),
        ("https://x.k8s.example.com/a/../b", "https://x.k8s.example.com", "/"),
    ],
)
def test_ours(text: str, origin: str, path: str) -> None:
    """A path, or a whole address of a host of ours; a path that could be misread becomes the front page."""
    found = destinations()
    assert found.read(found.table.login, text) == Destination(origin, path)


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/",
        "https://one.example.com/",  # another port
        "http://auth.example.com/",  # another scheme
        "http://x.k8s.example.com/",
        "https://x.k8s.example.com:8443/",
        "https://k8s.example.com/",  # the domain itself is no host below it
        "https://xk8s.example.com/",
        "https://x.k8s.example.com.evil.example/",
        "https://auth.example.com.evil.example/",
        "https://notauth.example.com/",
        "https://local.localhost/",
        "https://example.com/",
    ],
)
def test_not_ours(text: str) -> None:
    """Another host, port or scheme leads nowhere at all."""
    found = destinations()
    assert found.read(found.table.login, text) is None


@pytest.mark.parametrize("name", LOGIN_PATHS)
@pytest.mark.parametrize("origin", ["", OWN, "https://x.k8s.example.com"])
def test_never_into_a_login(name: str, origin: str) -> None:
    """Our own paths that begin or end something are no goal, on whichever host."""
    found = destinations()
    for tail in ("", "?a=/b", "/x", "/x?y"):
        goal = found.read(found.table.login, f"{origin}/oauth2/{name}{tail}")
        assert goal == Destination(origin or OWN, "/")


@pytest.mark.parametrize(
    "path", ["/oauth2/", "/oauth2/session", "/oauth2/startx", "/x/oauth2/start", "/?/oauth2/start"]
)
def test_other_own_pages_are_goals(path: str) -> None:
    """A page for people may be where somebody was going."""
    found = destinations()
    assert found.read(found.table.login, path) == Destination(OWN, path)


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("portal.example.org", True),
        ("portal.example.org:8443", False),
        ("x.portal.example.org", False),
        ("a.tools.example.org", True),
        ("b.a.tools.example.org", True),
        ("tools.example.org", False),
        ("atools.example.org", False),
        ("a.tools.example.org:8443", False),
        ("a.tools.example.org.evil.example", False),
    ],
)
def test_return_hosts(host: str, is_ours: bool) -> None:
    """Further hosts by their whole name, or below a domain; https only, and no site of ours."""
    found = destinations(return_hosts=("portal.example.org", ".tools.example.org"))
    expected = Destination(f"https://{host}", "/a") if is_ours else None
    assert found.read(found.table.login, f"https://{host}/a") == expected
    assert found.read(found.table.login, f"http://{host}/a") is None
    assert found.site_of(f"https://{host}") is None


def test_sites_of_origins() -> None:
    """Each of our origins has its site; a host below a wildcard is one of its own."""
    found = destinations()
    names = ("https://auth.example.com", "https://one.example.com:8443", "https://x.k8s.example.com")
    assert [site and site.origin for site in map(found.site_of, names)] == list(names)
    for other in ("http://auth.example.com", "https://evil.example", "", "auth.example.com"):
        assert found.site_of(other) is None


def test_every_known_trick() -> None:
    """Of the whole corpus, alone and behind each host of ours, nothing leads to a host that is not configured."""
    found = destinations(return_hosts=("portal.example.org", ".tools.example.org"))
    ours = (
        "https://auth.example.com",
        "https://one.example.com:8443",
        "https://x.k8s.example.com",
        "https://a.tools.example.org",
    )
    exact = {
        "https://auth.example.com",
        "https://one.example.com:8443",
        "http://local.localhost",
        "https://portal.example.org",
    }
    corpus = redirects()
    texts = (*absolutes(), *corpus, *(origin + text for origin in ours for text in corpus))
    origins = set()
    for text in texts:
        goal = found.read(found.table.login, text)
        if goal is not None:
            assert goal.path.startswith("/")
            origins.add(goal.origin)
    others = origins - exact
    assert all(
        re.fullmatch(r"https://([a-z0-9-]+\.)+(k8s\.example\.com|tools\.example\.org)", origin) for origin in others
    )
    assert set(ours) <= origins
