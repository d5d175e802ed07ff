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
    (line,) = site_of("https://a.example.com", upstream={"ui": "dashboard-2"}).ui_cookie_expiries(b"")
    assert line == "jweToken=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0"
    assert site_of("https://a.example.com").ui_cookie_expiries(b"") == []
    headlamp = site_of("https://a.example.com", upstream={"ui": "headlamp"})
    (line,) = headlamp.ui_cookie_expiries(b"headlamp-auth-main.0=x; theme=dark; headlamp-auth-main.0=y")
    assert line.startswith("headlamp-auth-main.0=; ")


def test_what_the_data_path_asks() -> None:
    """Whether a token goes along, and whether there are rules by path."""
    site = site_of("http://a.localhost", identity="none", access={"rules": [{"path": "/x"}]})
    assert not site.sends_token
    assert site.restricts
    assert site_of("http://a.localhost").sends_token
    assert not site_of("http://a.localhost", access={"groups": ["a"]}).restricts
