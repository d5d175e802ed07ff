"""What snippets are made from."""

from pathlib import Path
from typing import Any

import pytest

from oidcgate.config.addresses import Listen
from oidcgate.config.load import parse_config
from oidcgate.config.model import Config
from oidcgate.snippets.plan import PLACEHOLDER, NoSuchSite, gate_address, make_plan
from tests.snippets.plans import HEADLAMP, LOCAL, ONE, WILD

CARRIED = {"url": "https://ui.example.com"}
OWN = {"url": "https://own.example.com", "upstream": {"url": "https://own.svc"}}
WILDCARD = {"url": "https://*.k8s.example.com"}
LOGIN = {"url": "https://login.k8s.example.com"}


def config(*sites: dict[str, Any], **more: Any) -> Config:
    """A configuration with these sites."""
    return parse_config(
        {
            "listen": ["127.0.0.1:8080"],
            "provider": {"issuer": "https://dex.example.com", "client_id": "gate"},
            "forward_auth": {"peers": ["10.0.0.0/8"]},
            "sites": list(sites),
            **more,
        },
        folder=Path("."),
        files=False,
    )


def test_what_the_configuration_says() -> None:
    """Without options everything comes from the configuration, and the UI's place is left to fill in."""
    plan = make_plan(config(CARRIED))
    assert (plan.site, plan.host, plan.listen) == ("https://ui.example.com", "ui.example.com", "0.0.0.0:443")
    assert (plan.gate, plan.upstream, plan.login) == ("http://127.0.0.1:8080", PLACEHOLDER, plan.site)
    assert (plan.shared_cookie, plan.cookie, plan.prefix) == (False, "oidcgate", "/oauth2")


def test_options_win() -> None:
    """What is said is taken."""
    options = {
        "gate": "http://gate.svc:80",
        "upstream": "http://ui.svc:80",
        "listen": "[::]:8443",
        "cert_file": "a",
        "key_file": "b",
    }
    plan = make_plan(config(CARRIED), **options)
    assert {name: getattr(plan, name) for name in options} == options


def test_which_site() -> None:
    """The named one, else the first that another proxy carries, else the first."""
    both = config(OWN, CARRIED)
    assert make_plan(both).site == "https://ui.example.com"
    assert make_plan(both, site="https://own.example.com/").upstream == "https://own.svc"
    assert make_plan(config(OWN)).site == "https://own.example.com"
    with pytest.raises(NoSuchSite, match=r"it has https://own\.example\.com, https://ui\.example\.com"):
        make_plan(both, site="https://other.example.com")


def test_one_cookie_for_a_domain() -> None:
    """Every host below the domain, and the host where logins end."""
    cookie = {"cookie": {"name": "__Host-k8s", "domain": "k8s.example.com"}}
    plan = make_plan(config(LOGIN, WILDCARD, session=cookie))
    assert (plan.host, plan.login) == ("*.k8s.example.com", "https://login.k8s.example.com")
    assert (plan.is_wildcard, plan.shared_cookie, plan.cookie) == (True, True, "k8s")


def test_how_the_ui_is_checked() -> None:
    """What the site says of the UI's certificate holds for the proxy, too."""
    upstream = {"ui": "headlamp", "ca_file": "/ca.pem", "server_name": "ui"}
    plan = make_plan(config({**CARRIED, "upstream": upstream}))
    assert (plan.ui, plan.upstream_ca_file, plan.upstream_name, plan.upstream_verify) == (
        "headlamp",
        "/ca.pem",
        "ui",
        True,
    )


def test_names_of_headers() -> None:
    """Groups of names become names."""
    assert ONE.identity_headers[:2] == ("Authorization", "X-Auth-Request-User")
    assert HEADLAMP.identity_headers[-1] == "X-Forwarded-Id-Token"


def test_what_is_derived() -> None:
    """A host as part of a name, and whether browsers come by https."""
    assert (ONE.slug, WILD.slug, LOCAL.slug) == ("ui_example_com", "k8s_example_com", "ui_localhost_8443")
    assert (ONE.ends_tls, LOCAL.ends_tls) == (True, False)


@pytest.mark.parametrize(
    ("listen", "tls", "address"),
    [
        (Listen(host="0.0.0.0", port=8080), False, "http://127.0.0.1:8080"),
        (Listen(host="::", port=8080), True, "https://127.0.0.1:8080"),
        (Listen(host="::1", port=80), False, "http://[::1]"),
        (Listen(path="/run/gate.sock"), False, "unix:/run/gate.sock"),
    ],
    ids=["any", "any, TLS", "IPv6", "socket"],
)
def test_where_the_gate_is(listen: Listen, tls: bool, address: str) -> None:
    """A proxy on the same machine reaches the listener."""
    assert gate_address(listen, tls=tls) == address
