"""Caddy's configuration as text, and as Caddy reads it; tests/journeys/test_peer_caddy.py runs it."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oidcgate.proxy.headers import FORWARDING, IDENTITY, PREFIXES
from oidcgate.snippets.caddy import render
from oidcgate.snippets.plan import Plan
from tests.config.support import key_and_certificate, pem
from tests.snippets.plans import ALL, HEADLAMP, LOCAL, ONE, SOCKET, TLS, UNCHECKED, WILD

CADDY = Path(sys.executable).parent / "caddy"


def caddy(verb: str, text: str, folder: Path) -> str:
    """
    What Caddy makes of a Caddyfile.

    Raises:
        AssertionError: it refuses it; quotes what it says.
    """
    (folder / "Caddyfile").write_text(text)
    places = {key: str(folder) for key in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    done = subprocess.run([CADDY, verb], cwd=folder, env={**os.environ, **places}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def with_files(plan: Plan, folder: Path) -> Plan:
    """The plan with certificates that are there."""
    key, certificate = key_and_certificate()
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(pem(key))
    ca_file = plan.upstream_ca_file and str(folder / "cert.pem")
    return replace(plan, upstream_ca_file=ca_file, cert_file=str(folder / "cert.pem"), key_file=str(folder / "key.pem"))


@pytest.mark.real
@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_caddy_takes_it(plan: Plan, tmp_path: Path) -> None:
    """The real program finds nothing wrong, and nothing to format."""
    text = render(with_files(plan, tmp_path))
    assert re.findall(r"<[a-z_]+>", text) == []
    caddy("validate", text, tmp_path)
    assert caddy("fmt", text, tmp_path) == text


@pytest.mark.real
def test_as_caddy_reads_it(tmp_path: Path) -> None:
    """One server for one host; what decides comes before the question, and the question before the UI."""
    servers = json.loads(caddy("adapt", render(LOCAL), tmp_path))["apps"]["http"]["servers"]
    (server,) = servers.values()
    assert server["listen"] == ["127.0.0.1:8443"]
    (route,) = server["routes"]
    assert route["match"] == [{"host": ["ui.localhost"]}]
    dials = [upstream["dial"] for upstream in found(route, "upstreams")]
    assert dials == ["127.0.0.1:8080", "127.0.0.1:8080", "10.0.0.5:80"]
    assert found(route, "status_code") == [404, 404, 400, 400, 2]  # the last is the answer that lets pass


def found(node: Any, key: str) -> list[Any]:
    """All values of a key, in order; lists flattened."""
    if isinstance(node, list):
        return [value for item in node for value in found(item, key)]
    if not isinstance(node, dict):
        return []
    here = node.get(key, [])
    below = [value for name, child in node.items() if name != key for value in found(child, key)]
    return [*(here if isinstance(here, list) else [here]), *below]


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_identity(plan: Plan) -> None:
    """Clients' claims are deleted before the question; what the gate says is copied after it."""
    before, _, after = render(plan).partition("forward_auth ")
    for name in sorted((IDENTITY | FORWARDING) - {"authorization"}):
        assert f"\trequest_header -{name}\n" in before.lower()
    for prefix in PREFIXES:
        assert f"\trequest_header -{prefix}*\n" in before.lower()
    assert 'request_header "-*_*"' in before
    assert 'request_header "-*.*"' in before
    assert f"copy_headers {' '.join(plan.identity_headers)}\n" in after


def test_the_question() -> None:
    """It has a query of its own, so that the client's is not appended; proxies before Caddy are not believed."""
    text = render(replace(ONE, prefix="/gate"))
    assert "\t\turi /gate/auth/caddy?\n" in text
    assert "/oauth2" not in text
    assert not re.search(r"^\s*trusted_proxies", text, re.MULTILINE)


def test_without_a_token() -> None:
    """Where the gate sends no token, the client's own goes to the gate and no further."""
    text = render(replace(ONE, headers=("x-auth-request",)))
    question, _, site = text.partition("\nhttps://ui.example.com {")
    assert question.index("forward_auth ") < question.index("request_header -Authorization\n")
    assert "import oidcgate" in site
    assert "request_header -Authorization" not in render(ONE)


def test_own_paths() -> None:
    """The login is reached through the UI's host, the question is not; with a shared cookie neither is."""
    text = render(ONE)
    order = [text.index(part) for part in ("respond @question 404", "reverse_proxy @gate", "import oidcgate")]
    assert order == sorted(order)
    assert "@gate" not in render(WILD)
    assert "Sign-in is at https://login.k8s.example.com/oauth2/" in render(WILD)
    assert "@gate" in render(replace(WILD, site=WILD.login, host="login.k8s.example.com"))


def test_where_it_listens() -> None:
    """Address, port and certificate; a wildcard is Caddy's own, and a default port is left out."""
    assert "\nhttp://ui.localhost:8443 {\n\tbind 127.0.0.1\n" in render(LOCAL)
    assert "\nhttps://ui.example.com {\n\troute {\n" in render(ONE)
    assert "\nhttps://*.k8s.example.com {\n" in render(WILD)
    assert "\ttls /etc/ssl/site.pem /etc/ssl/site.key\n" in render(TLS)


def test_port_80() -> None:
    """It is left alone by a site on a port of its own, and redirects to one that has the usual port."""
    other = replace(ONE, site="https://ui.example.com:8443", host="ui.example.com:8443", listen="0.0.0.0:8443")
    assert "auto_https disable_redirects" in render(other)
    assert "auto_https" not in render(ONE) + render(LOCAL)


def test_behind_it() -> None:
    """Streams are not held back; certificates are checked as the configuration says; sockets have a spelling."""
    text = render(TLS)
    assert "reverse_proxy https://kong.dashboard.svc {" in text
    assert "flush_interval -1" in text
    assert "tls_trust_pool file /etc/ssl/ui-ca.pem" in text
    assert "tls_server_name kong.internal" in text
    assert "tls_insecure_skip_verify" not in text
    assert "tls_insecure_skip_verify" in render(UNCHECKED)
    assert "reverse_proxy unix//run/ui.sock {" in render(SOCKET)
    assert "forward_auth unix//run/oidcgate.sock {" in render(SOCKET)


@pytest.mark.parametrize(
    ("plan", "cookie", "kept"),
    [
        (ONE, "a=1; oidcgate=x; b=2", "a=1; b=2"),
        (ONE, "__Host-oidcgate=x; a=1", "a=1"),
        (ONE, "a=1; __Secure-oidcgate-login-0=x", "a=1"),
        (ONE, "a=1; myoidcgate=x; token=2", "a=1; myoidcgate=x; token=2"),
        (ONE, "oidcgate=x", ""),
        (TLS, "token=1; tokens=2; jweToken=3", "tokens=2"),
        (HEADLAMP, "headlamp-auth-main.0=x; a=1", "a=1"),
        (replace(ONE, cookie="our.gate"), "our.gate=1; ourxgate=2", "ourxgate=2"),
    ],
)
def test_cookies_that_stay(plan: Plan, cookie: str, kept: str) -> None:
    """The gate's cookies and the UI's own tokens are taken out, and nothing else."""
    for pattern in re.findall(r'request_header Cookie `(.*?)` ""', render(plan)):
        cookie = re.sub(pattern, "", cookie)
    assert cookie == kept
