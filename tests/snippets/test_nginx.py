"""nginx's configuration as text; tests/journeys/test_peer_nginx.py runs it."""

import re

import pytest

from oidcgate.proxy.headers import is_dropped
from oidcgate.snippets.nginx import WAYS, claims, render
from oidcgate.snippets.plan import Plan
from tests.snippets.plans import ALL, HEADLAMP, LOCAL, ONE, SOCKET, TLS, UNCHECKED, WILD


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_braces_and_names(plan: Plan) -> None:
    """Nothing is left to fill in, and what is opened is closed."""
    text = re.sub(r'"[^"\n]*"|\'[^\n]*\'|#.*', "", render(plan))
    assert text.count("{") == text.count("}")
    assert re.findall(r"(?<!\?)<[a-z_]+>", text) == []


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_each_identity_header_is_the_gate_s(plan: Plan) -> None:
    """What the gate says is fetched and set; what nobody may say is emptied; no name is set twice."""
    ui = render(plan).partition("location / {")[2].partition("location = /_oidcgate")[0]
    for name in plan.identity_headers:
        low = name.lower().replace("-", "_")
        assert f"auth_request_set $oidcgate_{low} $upstream_http_{low};" in ui
        assert f"proxy_set_header {name} $oidcgate_{low};" in ui
    for name in (*claims(plan), *WAYS):
        assert f'proxy_set_header {name} "";' in ui
    names = [name.lower() for name in re.findall(r"proxy_set_header (\S+)", ui)]
    assert len(names) == len(set(names))


def test_what_is_emptied_is_what_the_gate_drops() -> None:
    """The list holds no name that the gate itself would pass on."""
    assert [name for name in (*claims(ONE), *WAYS) if not is_dropped(name.encode())] == []
    assert "X-Forwarded-User" in claims(ONE)
    assert "X-Forwarded-User" not in claims(HEADLAMP)


def test_own_paths_lead_to_the_gate() -> None:
    """The login is reached through the UI's host, the question is not; with a shared cookie neither is."""
    text = render(ONE)
    assert "location ^~ /oauth2/ {" in text
    assert "location ^~ /oauth2/auth/ {\n        return 404;" in text
    assert "location ^~" not in render(WILD)


def test_where_it_listens() -> None:
    """TLS with the given files, else with what to fill in; plain on this machine."""
    assert "listen 0.0.0.0:443 ssl;\n    ssl_certificate /etc/ssl/site.pem;\n    ssl_certificate_key" in render(TLS)
    assert "# ssl_certificate_key" in render(ONE)
    assert "listen 127.0.0.1:8443;\n    server_name ui.localhost;" in render(LOCAL)
    assert "server_name *.k8s.example.com;" in render(WILD)


def test_tls_behind_it() -> None:
    """Certificates of UI and gate are checked, with the names and authorities of the configuration."""
    text = render(TLS)
    assert "server kong.dashboard.svc:443;" in text
    assert "proxy_ssl_name kong.internal;\n" in text
    assert "proxy_ssl_trusted_certificate /etc/ssl/ui-ca.pem;" in text
    assert "proxy_pass https://oidcgate_ui_example_com/oauth2/auth/nginx;\n        proxy_ssl_server_name on;" in text
    assert "proxy_ssl_name gate.login.svc;" in text
    assert text.count("proxy_ssl_verify on;") == 3
    assert "proxy_ssl_verify off;" in render(UNCHECKED)


def test_sockets() -> None:
    """Gate and UI may be on Unix sockets."""
    assert "server unix:/run/oidcgate.sock;" in render(SOCKET)
    assert "server unix:/run/ui.sock;" in render(SOCKET)


def test_refusals_are_in_the_ui_s_words() -> None:
    """The media type of a script's 401 is what the UI's own code expects."""
    assert "default_type application/json;" in render(ONE)
    assert "location @oidcgate_refused {\n        default_type text/plain;" in render(TLS)


def cookies_through(text: str, header: str) -> str:
    """What the chain of maps makes of a Cookie header."""
    for body in re.findall(r"map \S+ \$cookies\w* \{\n(.*?)\n\}", text, re.DOTALL):
        for pattern, result in re.findall(r'"~\*?(.*?)" (?:"([^"]*)"|\$\w+);', body):
            match = re.search(pattern.replace("(?<", "(?P<"), header, re.IGNORECASE)
            if match:
                if "cookies_all" in pattern:
                    header = match["cookies_all"]
                else:
                    header = result and match["cookies_before"] + match["cookies_after"]
                break
    return header


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ("", ""),
        ("a=1", "a=1"),
        ("__Host-oidcgate=x", ""),
        ("a=1; __Host-oidcgate=x; b=2", "a=1; b=2"),
        ("oidcgate=x; a=oidcgate", "a=oidcgate"),
        ("a=1; __Secure-oidcgate=x", "a=1"),
        ("A=1; __HOST-OIDCGATE=x;b=2", "A=1; b=2"),
        ("__Host-oidcgate=x; __Host-oidcgate-guard=y; __Host-oidcgate-login-1=z; a=1", "a=1"),
        ("a=1; xoidcgate=2; headlamp-auth-main.0=t; b=3", "a=1; xoidcgate=2; b=3"),
        ("oidcgate=1; oidcgate=2; oidcgate=3; oidcgate=4; a=1", "a=1"),
        ("oidcgate=1; oidcgate=2; oidcgate=3; oidcgate=4; oidcgate=5; a=1", ""),
    ],
)
def test_cookies_that_are_kept_back(sent: str, left: str) -> None:
    """The gate's cookies and the UI's own login cookies are taken out, and nothing else is touched."""
    assert cookies_through(render(HEADLAMP), sent) == left
