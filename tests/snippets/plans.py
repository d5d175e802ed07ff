"""Plans that the tests of all snippets render."""

from dataclasses import replace

from oidcgate.snippets.plan import Plan

ONE = Plan(
    site="https://ui.example.com",
    host="ui.example.com",
    gate="http://127.0.0.1:8080",
    upstream="http://10.0.0.5:80",
    listen="0.0.0.0:443",
    prefix="/oauth2",
    login="https://ui.example.com",
    shared_cookie=False,
    headers=("authorization", "x-auth-request"),
    ui="plain",
)
LOCAL = replace(ONE, site="http://ui.localhost:8443", host="ui.localhost:8443", listen="127.0.0.1:8443")
WILD = replace(
    ONE,
    site="https://*.k8s.example.com",
    host="*.k8s.example.com",
    login="https://login.k8s.example.com",
    shared_cookie=True,
)
HEADLAMP = replace(ONE, ui="headlamp", headers=("authorization", "x-auth-request", "x-forwarded"))
TLS = replace(
    ONE,
    ui="dashboard-7",
    gate="https://gate.login.svc:8443",
    upstream="https://kong.dashboard.svc",
    upstream_ca_file="/etc/ssl/ui-ca.pem",
    upstream_name="kong.internal",
    cert_file="/etc/ssl/site.pem",
    key_file="/etc/ssl/site.key",
)
SOCKET = replace(ONE, gate="unix:/run/oidcgate.sock", upstream="unix:/run/ui.sock")
UNCHECKED = replace(TLS, upstream_verify=False)
ALL = {
    "one": ONE,
    "local": LOCAL,
    "wild": WILD,
    "headlamp": HEADLAMP,
    "tls": TLS,
    "socket": SOCKET,
    "unchecked": UNCHECKED,
}
