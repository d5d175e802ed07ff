"""Traefik's two files as text; tests/journeys/test_peer_traefik.py runs them."""

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from oidcgate.proxy.headers import FORWARDING, IDENTITY, PREFIXES
from oidcgate.snippets.plan import HEADER_GROUPS, Plan
from oidcgate.snippets.traefik import render
from tests.snippets.plans import ALL, LOCAL, ONE, SOCKET, TLS, UNCHECKED, WILD


def files(plan: Plan) -> dict[str, Any]:
    """The printed files, parsed."""
    _, *parts = re.split(r"^# ---- file: (\S+)\n", render(plan), flags=re.MULTILINE)
    return {name: yaml.safe_load(text) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def dynamic(plan: Plan) -> Any:
    """What the file provider reads of HTTP."""
    return files(plan)["oidcgate.yaml"]["http"]


def question(plan: Plan) -> Any:
    """The middleware that asks."""
    return dynamic(plan)["middlewares"]["oidcgate"]["forwardAuth"]


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_two_files(plan: Plan) -> None:
    """Both parse, the first names the second, and everything that is referred to is there."""
    parsed = files(plan)
    assert parsed["traefik.yaml"]["providers"]["file"]["filename"] in parsed
    http = dynamic(plan)
    for router in http["routers"].values():
        assert router["entryPoints"] == ["site"]
        assert set(router.get("middlewares", ())) <= set(http["middlewares"])
        assert router["service"] in {*http["services"], "noop@internal"}
        assert ("tls" in router) == plan.ends_tls
    assert re.findall(r"<[a-z_]+>", render(plan)) == []


def test_entry_point() -> None:
    """Nobody's X-Forwarded-* is believed, aliases of header names are dropped, long uploads are let through."""
    static = files(LOCAL)["traefik.yaml"]
    entry = static["entryPoints"]["site"]
    assert entry["address"] == "127.0.0.1:8443"
    assert entry["forwardedHeaders"] == {"insecure": False}
    assert entry["http"]["aliasHeadersStrategy"] == "delete"
    assert entry["transport"]["respondingTimeouts"]["readTimeout"] == "1h"
    assert static["global"]["checkNewVersion"] is False


def test_the_question() -> None:
    """Where it is put; the answer's redirect is kept as it is."""
    asked = question(replace(ONE, prefix="/gate"))
    assert asked["address"] == "http://127.0.0.1:8080/gate/auth/traefik"
    assert asked["trustForwardHeader"] is False
    assert asked["preserveLocationHeader"] is True


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_identity(plan: Plan) -> None:
    """What the gate says replaces the client's; what only it may say is deleted in all spellings; the rest stays."""
    assert question(plan)["authResponseHeaders"] == list(plan.identity_headers)
    pattern = re.compile(question(plan)["authResponseHeadersRegex"])
    names = [*IDENTITY, *(FORWARDING - {"x-real-ip"}), *(name for group in HEADER_GROUPS.values() for name in group)]
    names += [f"{prefix}Extra-Scopes" for prefix in PREFIXES if prefix != "x-forwarded-"]
    for name in names:
        assert all(pattern.fullmatch(name.replace("-", dash)) for dash in ("-", "_", ".", "_-")), name
    for name in ("Cookie", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "X-Csrf-Token"):
        assert not pattern.fullmatch(name)


def test_own_paths() -> None:
    """The login is reached through the UI's host, the question is not; with a shared cookie neither is."""
    routers = dynamic(ONE)["routers"]
    closed, own = routers["oidcgate-question"], routers["oidcgate"]
    assert closed["priority"] > own["priority"]
    assert closed["middlewares"] == ["nobody"]
    assert dynamic(ONE)["middlewares"]["nobody"]["ipAllowList"]["rejectStatusCode"] == 404
    assert own["rule"] == "Host(`ui.example.com`) && (Path(`/oauth2`) || PathPrefix(`/oauth2/`))"
    assert "middlewares" not in own
    assert [name for name in dynamic(WILD)["routers"] if name.startswith("oidcgate")] == []
    assert list(dynamic(WILD)["services"]) == ["ui"]
    assert "oidcgate" in dynamic(replace(WILD, site=WILD.login, host="login.k8s.example.com"))["routers"]


@pytest.mark.parametrize(
    ("path", "is_closed"),
    [
        ("/oauth2/auth", True),
        ("/oauth2/auth/traefik", True),
        ("/oauth2//auth", True),
        ("/OAuth2/Auth/x", True),
        ("/oauth2/x%2F..%2Fauth", True),
        ("/oauth2%2Fauth", True),
        ("/oauth2/x;/auth", True),
        ("/oauth2/start", False),
        ("/oauth2/callback/dex-2", False),
        ("/oauth2", False),
        ("/oauth2x%20/y", False),
    ],
)
def test_closed_paths(path: str, is_closed: bool) -> None:
    """The question's address in all spellings, and spellings that none of the gate's pages needs."""
    rule = dynamic(ONE)["routers"]["oidcgate-question"]["rule"]
    pattern = re.search(r"PathRegexp\(`(.*)`\)", rule)
    assert pattern is not None
    assert bool(re.search(pattern[1], path)) == is_closed


def test_hosts() -> None:
    """One host without its port, or every host below a domain, after those that have routes of their own."""
    assert dynamic(LOCAL)["routers"]["ui"]["rule"] == "Host(`ui.localhost`)"
    rule = dynamic(WILD)["routers"]["ui"]["rule"]
    assert rule == r"HostRegexp(`^[a-z0-9.-]+\.k8s\.example\.com$`)"
    assert dynamic(WILD)["routers"]["ui"]["priority"] == 1
    assert "priority" not in dynamic(ONE)["routers"]["ui"]


def test_tokens_in_subprotocols() -> None:
    """A handshake that brings a token is let through to nobody."""
    router = dynamic(ONE)["routers"]["ui-token-in-websocket"]
    assert router["middlewares"] == ["nobody"]
    assert r"base64url\.bearer\.authorization\.k8s\.io\." in router["rule"]


def test_behind_it() -> None:
    """Streams are not held back; certificates are checked as the configuration says."""
    service = dynamic(TLS)["services"]["ui"]["loadBalancer"]
    assert service["servers"] == [{"url": "https://kong.dashboard.svc"}]
    assert service["responseForwarding"] == {"flushInterval": "-1ms"}
    transport = dynamic(TLS)["serversTransports"][service["serversTransport"]]
    assert transport == {"rootCAs": ["/etc/ssl/ui-ca.pem"], "serverName": "kong.internal"}
    assert dynamic(UNCHECKED)["serversTransports"]["ui"]["insecureSkipVerify"] is True
    assert "serversTransports" not in dynamic(ONE)


def test_certificate() -> None:
    """The one that is named, or a place for it."""
    (pair,) = files(TLS)["oidcgate.yaml"]["tls"]["certificates"]
    assert pair == {"certFile": "/etc/ssl/site.pem", "keyFile": "/etc/ssl/site.key"}
    assert files(ONE)["oidcgate.yaml"]["tls"]["certificates"][0]["certFile"] == "/etc/traefik/tls.crt"
    assert "tls" not in files(LOCAL)["oidcgate.yaml"]


def test_no_sockets() -> None:
    """Traefik dials no Unix sockets: the gate needs a port, and the text says so."""
    assert question(SOCKET)["address"].startswith("http://127.0.0.1:8080/")
    assert "Traefik dials no Unix sockets" in render(SOCKET)
    assert "Unix" not in render(ONE)
