"""The shape of the configuration: what each key takes, and what it says otherwise."""

from typing import Any

import pytest
from pydantic import ValidationError

from oidcgate.config.addresses import Listen
from oidcgate.config.model import Config
from tests.config.support import document, problems, provider, site, upstream


def test_smallest() -> None:
    """An issuer, a client and a site are enough."""
    config = Config.model_validate(document())
    assert config.listeners == (Listen("127.0.0.1", 8080),)
    assert config.sites[0].upstream.urls == ("http://ui:8080",)
    assert config.session.idle == 3600.0
    assert config.limits.head == 65536


def test_frozen() -> None:
    """Nothing changes a configuration after it was checked."""
    config = Config.model_validate(document())
    with pytest.raises(ValidationError, match="frozen"):
        config.prefix = "/other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        pytest.param("127.0.0.1:8080", ("127.0.0.1:8080",), id="one-as-text"),
        pytest.param([":80", "unix:/a"], ("0.0.0.0:80", "unix:/a"), id="several-canonical"),
    ],
)
def test_listen(listen: object, expected: tuple[str, ...]) -> None:
    """One address or a list; each in its canonical form."""
    assert Config.model_validate(document(listen=listen)).listen == expected


def test_site_url_canonical() -> None:
    """A site's URL is what a browser sends as Origin: without a final slash, default port or capitals."""
    config = Config.model_validate(document(sites=[site(url="https://UI.example.com:443/")]))
    assert config.sites[0].url == "https://ui.example.com"
    assert config.sites[0].origin.authority == "ui.example.com"


def test_networks_canonical() -> None:
    """An address with host bits is taken as its network, a bare one as itself."""
    config = Config.model_validate(document(trusted_proxies=["10.1.2.3/8", "fd00::1"]))
    assert config.trusted_proxies == ("10.0.0.0/8", "fd00::1/128")


@pytest.mark.parametrize(
    "url",
    ["http://ui", "https://ui:8443/", "unix:/run/ui.sock", ["http://ui-0:80", "http://ui-1:80"]],
)
def test_upstream_urls(url: str | list[str]) -> None:
    """An upstream is http, https, a Unix socket, or a list of replicas."""
    urls = Config.model_validate(upstream(url=url)).sites[0].upstream.urls
    assert urls == ((url,) if isinstance(url, str) else tuple(url))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(document(listen=[]), "listen: Tuple should have at least 1 item", id="no-listener"),
        pytest.param(document(listen=[8080]), "listen[0]: Input should be a valid string", id="listen-number"),
        pytest.param(document(listen=8080), "listen: Input should be a valid tuple", id="listen-bare-number"),
        pytest.param(document(listen="8080"), "listen: '8080' is not an address to listen on", id="listen-port-only"),
        pytest.param(
            document(listen=["unix:x"]), "listen: 'unix:x': a Unix socket needs an absolute path", id="socket"
        ),
        pytest.param(document(admin={"listen": "x"}), "admin.listen: 'x' is not an address", id="admin-listen"),
        pytest.param(document(tls={"cert_file": "a"}), "tls.key_file: this key is needed", id="half-of-tls"),
        pytest.param(
            document(trusted_proxies=["proxy"]), "trusted_proxies: 'proxy' does not appear to be", id="network"
        ),
        pytest.param(document(prefix="oauth2"), "prefix: String should match pattern", id="prefix-without-slash"),
        pytest.param(document(prefix="/a/b"), "prefix: String should match pattern", id="prefix-of-two"),
        pytest.param(document(sites=[]), "sites: Tuple should have at least 1 item", id="no-site"),
        pytest.param(document(sites=None), "sites: Input should be a valid tuple", id="sites-null"),
        pytest.param(document(sites=["x"]), "sites[0]: Input should be a valid dictionary", id="site-is-text"),
        pytest.param(
            provider(client_id=""), "provider.client_id: String should have at least 1 character", id="client"
        ),
        pytest.param(provider(issuer="dex"), "provider.issuer: 'dex' must begin with https://", id="issuer-no-url"),
        pytest.param(
            provider(issuer="https://d/?x"), "provider.issuer: 'https://d/?x' must not carry", id="issuer-query"
        ),
        pytest.param(provider(internal_url="dex:5556"), "provider.internal_url: 'dex:5556' must begin", id="internal"),
        pytest.param(provider(proxy="socks5://p"), "provider.proxy: must be an http:// or https://", id="proxy-scheme"),
        pytest.param(provider(proxy="http://[x"), "provider.proxy: must be an http:// or https://", id="proxy-broken"),
        pytest.param(provider(algorithms=["HS256"]), "provider.algorithms[0]: Input should be 'RS256'", id="hs256"),
        pytest.param(provider(algorithms=["none"]), "provider.algorithms[0]: Input should be 'RS256'", id="alg-none"),
        pytest.param(provider(algorithms=[]), "provider.algorithms: Tuple should have at least 1", id="no-algorithm"),
        pytest.param(provider(leeway="10m"), "provider.leeway: Input should be less than or equal to 300", id="leeway"),
        pytest.param(provider(leeway=10), "provider.leeway: 10 is not a duration", id="no-unit"),
        pytest.param(provider(leeway=1.5), "provider.leeway: 1.5 is not a duration", id="fraction-without-unit"),
        pytest.param(document(session={"idle": "0s"}), "session.idle: Input should be greater than 0", id="idle-zero"),
        pytest.param(document(session={"idle": float("inf")}), "session.idle: inf is not a duration", id="idle-inf"),
        pytest.param(document(session={"max_per_user": 0}), "session.max_per_user: Input should be greater", id="none"),
        pytest.param(
            document(session={"cookie": {"name": "a;b"}}), "session.cookie.name: a cookie name has letters", id="cookie"
        ),
        pytest.param(
            document(session={"cookie": {"name": "__Host-"}}),
            "session.cookie.name: a cookie name has",
            id="prefix-only",
        ),
        pytest.param(
            document(session={"cookie": {"name": "gâte"}}), "session.cookie.name: a cookie name has", id="not-ascii"
        ),
        pytest.param(
            document(sites=[site(url="https://ui.example.com/dashboard")]),
            "sites[0].url: 'https://ui.example.com/dashboard' has a path",
            id="site-with-a-path",
        ),
        pytest.param(document(sites=[site(url="https://ui.example.com//")]), "sites[0].url: ", id="site-two-slashes"),
        pytest.param(upstream(headers={"Authorization": "x"}), "written by the gate itself", id="gates-own-header"),
        pytest.param(
            upstream(headers={"impersonate-user": "x"}), "written by the gate itself", id="impersonate-header"
        ),
        pytest.param(upstream(headers={"X Y": "x"}), "String should match pattern", id="header-name"),
        pytest.param(upstream(headers={"X-Y": "{mail}"}), "{mail} is not known", id="header-template"),
        pytest.param(upstream(headers={"X-Y": "a\r\nb"}), "String should match pattern", id="header-two-lines"),
        pytest.param(upstream(routes=[{"path": "api", "url": "http://a"}]), "String should match", id="route-path"),
        pytest.param(upstream(routes=[{"path": "/a", "url": "http://a/b"}]), "has a path", id="route-url"),
        pytest.param(
            document(sites=[site(kubernetes={"api": "https://k8s", "extra": {"A B": "x"}})]),
            "String should match pattern",
            id="extra-key",
        ),
        pytest.param(document(sites=[site(url="https://*.com")]), "is too wide", id="wildcard-of-a-top-level"),
        pytest.param(document(sites=[site(url="https://*.10.0.0.1")]), "is too wide", id="wildcard-of-an-address"),
        pytest.param(document(sites=[site(url="https://a.*.example.com")]), "whole first label", id="wildcard-within"),
        pytest.param(document(sites=[site(url="https://a*.example.com")]), "whole first label", id="wildcard-in-label"),
        pytest.param(document(sites=[site(url="https://*.*.example.com")]), "whole first label", id="two-wildcards"),
        pytest.param(
            document(session={"cookie": {"domain": ".example.com"}}), "several labels", id="cookie-domain-with-a-dot"
        ),
        pytest.param(document(session={"cookie": {"domain": "com"}}), "several labels", id="cookie-domain-top-level"),
        pytest.param(document(forward_auth={"peers": ["x"]}), "forward_auth.peers", id="peer-no-network"),
        pytest.param(
            document(forward_auth={"return_hosts": ["a.example.com:1"]}), "without a port", id="return-host-with-port"
        ),
        pytest.param(
            document(sites=[site(access={"rules": [{"hosts": ["A.example.com"]}]})]), "lower-case host", id="rule-host"
        ),
        pytest.param(document(sites=[site(url="ui.example.com")]), "must begin with https://", id="site-no-scheme"),
        pytest.param(
            document(sites=[site(identity="magic")]),
            "sites[0].identity: Input should be 'token', 'impersonate' or 'none'",
            id="identity",
        ),
        pytest.param(
            document(sites=[site(access={"rules": [{"path": "x"}]})]),
            "sites[0].access.rules[0].path: String should match pattern",
            id="rule-path",
        ),
        pytest.param(
            document(sites=[site(provider={"issuer": "dex"})]),
            "sites[0].provider.issuer: 'dex' must begin with https://",
            id="override-issuer",
        ),
        pytest.param(
            document(sites=[site(provider={"client_id": ""})]),
            "sites[0].provider.client_id: String should have at least 1",
            id="override-client",
        ),
        pytest.param(upstream(url=[]), "sites[0].upstream: this key is needed", id="no-replica"),
        pytest.param(upstream(url="http://ui/app"), "sites[0].upstream.url: 'http://ui/app' has a path", id="path"),
        pytest.param(upstream(url="http://ui/app/"), "sites[0].upstream.url: 'http://ui/app/' has a path", id="path-2"),
        pytest.param(
            upstream(url="unix:ui.sock"), "sites[0].upstream.url: 'unix:ui.sock' must begin", id="unix-relative"
        ),
        pytest.param(
            upstream(url="ui:8080"), "sites[0].upstream.url: 'ui:8080' must begin with", id="upstream-no-scheme"
        ),
        pytest.param(upstream(ui="grafana"), "sites[0].upstream.ui: Input should be 'dashboard-2'", id="ui-unknown"),
        pytest.param(
            upstream(connect_timeout="soon"), "sites[0].upstream.connect_timeout: 'soon' is not", id="timeout"
        ),
        pytest.param(
            document(limits={"head": "1KiB"}), "limits.head: Input should be greater than or", id="head-small"
        ),
        pytest.param(document(limits={"body": -1}), "limits.body: a size cannot be negative", id="size-negative"),
        pytest.param(
            document(limits={"connections": 0}), "limits.connections: Input should be greater", id="connections"
        ),
        pytest.param(document(log={"level": "loud"}), "log.level: Input should be 'debug'", id="log-level"),
        pytest.param(
            document(log={"format": "xml"}), "log.format: Input should be 'json' or 'console'", id="log-format"
        ),
        pytest.param(document(workers="many"), "workers: Input should be 'auto'", id="workers"),
        pytest.param(document(look={"name": ""}), "look.name: String should have at least 1", id="look-nameless"),
        pytest.param(
            document(look={"name": "x" * 41}), "look.name: String should have at most 40", id="look-name-long"
        ),
        pytest.param(document(look={"name": "a\nb"}), "look.name: must be one line of text", id="look-name-lines"),
        pytest.param(document(look={"name": "a\u202eb"}), "look.name: must be one line of text", id="look-name-bidi"),
        pytest.param(document(look={"name": " a"}), "look.name: must be one line of text", id="look-name-spaces"),
        pytest.param(document(look={"colour": "blue"}), 'look.colour: must be like "#1d5fd1", in', id="look-colour"),
        pytest.param(document(look={"colour": "#1d5fd1;"}), "look.colour: must be like", id="look-colour-more"),
        pytest.param(document(look={"colour": None}), "look.colour: must be like", id="look-colour-not-quoted"),
        pytest.param(document(look={"color": "#1d5fd1"}), "did you mean 'colour'?", id="look-color"),
    ],
)
def test_refused(given: dict[str, Any], expected: str) -> None:
    """A value that does not fit says where and why."""
    found = problems(given)
    assert any(expected in text for text in found), found


def test_password_in_a_url_is_not_repeated() -> None:
    """A password written into a URL shows in no message."""
    given = document(
        provider={"issuer": "https://u:geheim@dex", "client_id": "c", "proxy": "x://u:geheim@p"},
        sites=[site(url="https://u:geheim@ui"), site(upstream={"url": "http://u:geheim@ui"})],
    )
    found = problems(given)
    assert len(found) == 4
    assert "geheim" not in "".join(found)
