"""HAProxy's two files as text; tests/journeys/test_peer_haproxy.py runs them."""

import re

import pytest

from oidcgate.proxy.headers import FORWARDING, IDENTITY, PREFIXES
from oidcgate.snippets.haproxy import render
from oidcgate.snippets.plan import Plan
from tests.snippets.plans import ALL, LOCAL, ONE, SOCKET, TLS, UNCHECKED, WILD

MARK = re.compile(r"^# ---- file: (\S+)\n", re.MULTILINE)


def files(text: str) -> dict[str, str]:
    """What a printed text holds, by file name."""
    _, *parts = MARK.split(text)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def configuration(plan: Plan) -> str:
    """haproxy.cfg."""
    return files(render(plan))["haproxy.cfg"]


def script(plan: Plan) -> str:
    """oidcgate.lua."""
    return files(render(plan))["oidcgate.lua"]


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_two_files(plan: Plan) -> None:
    """The text divides into two files, and nothing is left to fill in."""
    parts = files(render(plan))
    assert list(parts) == ["haproxy.cfg", "oidcgate.lua"]
    assert re.findall(r"<[a-z_]+>", "".join(parts.values())) == []
    assert "".join(f"# ---- file: {name}\n{text}" for name, text in parts.items()) == render(plan)


def test_names_are_the_gate_s_own() -> None:
    """What is dropped is what the gate itself drops."""
    text = script(ONE)
    assert all(f'["{name}"] = true,' in text for name in IDENTITY | FORWARDING)
    assert all(f'"{prefix}",' in text for prefix in PREFIXES)
    assert all(f'"{name}",' in text for name in ONE.identity_headers)


def test_own_paths_lead_to_the_gate() -> None:
    """The login is reached through the UI's host, the question is not; with a shared cookie neither is."""
    text = configuration(ONE)
    refused = text.index("deny_status 404 if { path -m reg ^/oauth2/auth(/|$) }")
    assert refused < text.index("use_backend oidcgate_ui_example_com if { path_beg /oauth2/ }")
    assert "server gate 127.0.0.1:8080" in text
    assert "oauth2" not in configuration(WILD)


def test_where_it_listens() -> None:
    """TLS with the given file, plain on this machine."""
    assert "bind 0.0.0.0:443 ssl crt /etc/ssl/site.pem alpn h2,http/1.1" in configuration(TLS)
    assert "bind 127.0.0.1:8443\n" in configuration(LOCAL)
    assert 'local SCHEME = "http"' in script(LOCAL)
    assert 'local SCHEME = "https"' in script(TLS)


def test_behind_it() -> None:
    """Certificates are checked unless the configuration says otherwise; sockets have addresses of their own."""
    checked = "ssl verify required ca-file /etc/ssl/ui-ca.pem sni str(kong.internal) verifyhost kong.internal"
    assert f"server ui kong.dashboard.svc:443 {checked}\n" in configuration(TLS)
    assert "server ui kong.dashboard.svc:443 ssl verify none\n" in configuration(UNCHECKED)
    assert "ca-file @system-ca sni str(gate.login.svc) verifyhost gate.login.svc" in configuration(TLS)
    assert "server ui unix@/run/ui.sock\n" in configuration(SOCKET)
    assert 'local GATE = "unix@/run/oidcgate.sock"' in script(SOCKET)
    assert 'local QUESTION = "https://gate.login.svc:8443/oauth2/auth/haproxy"\nlocal GATE = nil' in script(TLS)
