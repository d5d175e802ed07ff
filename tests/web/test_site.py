"""What a site needs at run time, prepared once."""

from pathlib import Path
from typing import Any

import pytest

from oidcgate.config.load import parse_config
from oidcgate.web.providers import Providers
from oidcgate.web.site import SiteRuntime, SiteTable, make_site, make_table


def site_of(url: str, **more: Any) -> SiteRuntime:
    """A prepared site."""
    upstream = {"url": "http://127.0.0.1:2", **more.pop("upstream", {})}
    config = parse_config(
        {
            "provider": {"issuer": "http://localhost:1/dex", "client_id": "gate"},
            "sites": [{"url": url, "upstream": upstream, **more}],
        },
        folder=Path("."),
    )
    return make_site(config, config.sites[0], Providers(config))


@pytest.mark.parametrize(
    ("url", "origin", "names"),
    [
        ("https://Dash.Example.com", "https://dash.example.com", {"dash.example.com", "dash.example.com:443"}),
        ("https://dash.example.com:443", "https://dash.example.com", {"dash.example.com", "dash.example.com:443"}),
        ("https://dash.example.com:8443", "https://dash.example.com:8443", {"dash.example.com:8443"}),
        ("http://localhost", "http://localhost", {"localhost", "localhost:80"}),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000", {"127.0.0.1:8000"}),
    ],
)
def test_origin_and_hosts(url: str, origin: str, names: set[str]) -> None:
    """One origin, and what browsers and programs send as Host for it."""
    site = site_of(url)
    assert site.origin == origin
    table = SiteTable([site], login=site)
    assert all(table.get(name) is site for name in names)
    assert table.get("evil.example") is None


def test_cookies_by_scheme() -> None:
    """The prefix and Secure follow the site's address."""
    assert site_of("https://a.example.com").names.session == b"__Host-oidcgate"
    assert site_of("http://a.localhost").names.session == b"oidcgate"


def test_expiries_of_the_uis_cookies() -> None:
    """With the attributes that they were set with."""
    line, *_ = site_of("https://a.example.com", upstream={"ui": "dashboard-2"}).ui_cookie_expiries(b"")
    assert line == "jweToken=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0"
    assert site_of("https://a.example.com").ui_cookie_expiries(b"") == []
    headlamp = site_of("https://a.example.com", upstream={"ui": "headlamp"})
    (line,) = headlamp.ui_cookie_expiries(b"headlamp-auth-main.0=x; theme=dark; headlamp-auth-main.0=y")
    assert line.startswith("headlamp-auth-main.0=; ")


def test_what_the_data_path_asks() -> None:
    """Whether there are rules by path, and which service of the UI a path belongs to."""
    assert site_of("http://a.localhost", access={"rules": [{"path": "/x"}]}).restricts
    assert not site_of("http://a.localhost", access={"groups": ["a"]}).restricts
    routes = [{"path": "/api/v1/me", "url": "http://127.0.0.1:3"}, {"path": "/api/*", "url": "http://127.0.0.1:4"}]
    site = site_of("http://a.localhost", upstream={"routes": routes})
    ports = {path: site.pools_for(path).pools[0].address.port for path in ("/", "/api/v1/me", "/api/v1/meter", "/apis")}
    assert ports == {"/": 2, "/api/v1/me": 3, "/api/v1/meter": 4, "/apis": 2}


# Several hosts.


def table_of(*sites: dict[str, Any], **session: Any) -> SiteTable:
    """The table of several sites; those with ``*`` have no upstream."""
    config = parse_config(
        {
            "provider": {"issuer": "http://localhost:1/dex", "client_id": "gate"},
            "session": {"store": "memory", **session},
            "forward_auth": {"peers": ["127.0.0.1"]},
            "sites": [
                {"upstream": {"url": [] if "*" in site["url"] else "http://127.0.0.1:2"}, **site} for site in sites
            ],
        },
        folder=Path("."),
    )
    providers = Providers(config)
    return make_table(config, [make_site(config, site, providers) for site in config.sites])


AUTH, WILD = {"url": "https://auth.example.com"}, {"url": "https://*.k8s.example.com"}


def test_logins_end_at_the_first_host() -> None:
    """The first site that is no wildcard."""
    table = table_of(WILD, AUTH, {"url": "https://one.example.com"})
    assert table.login.origin == "https://auth.example.com"
    assert repr(table) == "<SiteTable https://*.k8s.example.com, https://auth.example.com, https://one.example.com>"


@pytest.mark.parametrize(
    ("authority", "origin"),
    [
        ("a.k8s.example.com", "https://a.k8s.example.com"),
        ("a.k8s.example.com:443", "https://a.k8s.example.com"),
        ("b.a.k8s.example.com", "https://b.a.k8s.example.com"),
        ("auth.k8s.example.com", "https://auth.k8s.example.com"),
        ("k8s.example.com", None),
        ("xk8s.example.com", None),
        (".k8s.example.com", None),
        ("a..k8s.example.com", None),
        ("-a.k8s.example.com", None),
        ("a_b.k8s.example.com", None),
        ("a.k8s.example.com:8443", None),
        ("a.k8s.example.com:0443", None),
        ("a.k8s.example.com:80", None),
        ("a.k8s.example.com.evil.example", None),
        ("a.k8s.example.com.", None),
        ("A.k8s.example.com", None),  # hosts are in lower case by now
        ("a" * 300 + ".k8s.example.com", None),
        ("*.k8s.example.com", None),
        ("", None),
    ],
)
def test_hosts_below_a_wildcard(authority: str, origin: str | None) -> None:
    """Every proper host below the domain, on its port; the dot is the boundary."""
    table = table_of(AUTH, WILD)
    for _ in range(2):  # made, then remembered
        site = table.get(authority)
        assert (site and site.origin) == origin
    assert table.get(authority) is table.get(authority)


def test_a_host_below_a_wildcard_is_a_site_of_its_own() -> None:
    """Its origin, authority and sessions are its own; where one cookie serves all, so does the session."""
    one, two = (table_of(AUTH, WILD).get(f"{name}.k8s.example.com") for name in ("one", "two"))
    assert one is not None
    assert two is not None
    assert (one.authority, one.session_site) == ("one.k8s.example.com", "https://one.k8s.example.com")
    assert two.session_site != one.session_site
    assert not one.carries
    domain = {"cookie": {"domain": "example.com"}}
    shared = table_of(AUTH, WILD, **domain)
    found = [shared.get(name) for name in ("one.k8s.example.com", "two.k8s.example.com", "auth.example.com")]
    assert {site and site.session_site for site in found} == {"*.example.com"}
    assert [site and site.scope for site in found] == [b"1.", b"1.", b"0."]
    assert {site and site.names.session for site in found} == {b"__Secure-oidcgate"}


def test_the_nearest_site_serves_a_host() -> None:
    """An exact one before any wildcard, the longer domain before the shorter."""
    deep = {"url": "https://*.dev.k8s.example.com", "identity": "none"}
    exact = {"url": "https://a.dev.k8s.example.com", "access": {"groups": ["x"]}}
    for sites in ((AUTH, WILD, deep, exact), (AUTH, exact, deep, WILD)):
        table = table_of(*sites)
        found = [table.get(name) for name in ("b.k8s.example.com", "b.dev.k8s.example.com", "a.dev.k8s.example.com")]
        assert [site and site.config.url for site in found] == [WILD["url"], deep["url"], exact["url"]]
        assert table.of_origin("https", "dev.k8s.example.com") is not None
        assert table.of_origin("http", "b.k8s.example.com") is None


def test_remembered_hosts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes up hosts fills no memory."""
    monkeypatch.setattr("oidcgate.web.site.MOST_HOSTS", 8)
    table = table_of(AUTH, WILD)
    for number in range(100):
        assert table.get(f"h{number}.k8s.example.com") is not None
        assert len(table._below) <= 8


def test_sites_with_another_client_log_in_apart() -> None:
    """The login host keeps a login for each provider, with a cookie and sessions of their own kind."""
    other = {"url": "https://two.example.com", "provider": {"client_id": "other"}}
    table = table_of(AUTH, {"url": "https://one.example.com"}, other)
    two = table.get("two.example.com")
    assert two is not None
    assert set(table.roots) == {"", two.provider_id}
    assert table.roots[""] is table.login
    root = table.roots[two.provider_id]
    assert root.origin == table.login.origin
    assert root.client == two.client == ("http://localhost:1/dex", "other")
    assert root.names.session == b"__Host-oidcgate-" + two.provider_id.encode()
    assert root.names.session.startswith(table.login.names.session)  # so no such cookie reaches a UI
    assert root.session_site != table.login.session_site
    assert root.names.login == table.login.names.login


def test_audiences() -> None:
    """A site's tokens are for its cluster; the login host's, which sends none, for the gate's client."""
    one, two = ({"url": f"https://{n}.example.com", "provider": {"audience": n}} for n in ("one", "two"))
    table = table_of({**AUTH, "upstream": {"url": []}}, one, two)
    found = [table.get(name) for name in ("auth.example.com", "one.example.com", "two.example.com")]
    assert [site and site.audience for site in found] == ["", "one", "two"]
    same = table_of(AUTH, {"url": "https://one.example.com", "provider": {"audience": "gate"}})
    assert [site.audience for site in same.sites] == ["", ""]
