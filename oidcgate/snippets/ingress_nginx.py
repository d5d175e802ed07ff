"""
ingress-nginx (v1.15.1 was the last): Ingress objects whose annotations ask the gate.

Pure. Rules of this file:
- Annotations only: snippets of nginx configuration are forbidden by default.
- A header that ``auth-response-headers`` names is the gate's or absent, whatever the client sent; so what nobody may
  send is named there, too.
- The controller redirects every 401 to ``auth-signin``, scripts as well; the gate knows it by what it sends along and
  answers scripts with 403.
"""

from oidcgate.config.addresses import parse_origin
from oidcgate.snippets.nginx import WAYS, claims
from oidcgate.snippets.plan import Plan
from oidcgate.snippets.text import fill

TEMPLATE = """\
# ingress-nginx 1.9 or newer, asking oidcgate who may use <site>
#
# The gate must know the controller: forward_auth: {peers: [the network of its pods]} there. Nobody else is given
# tokens. Services are named after --gate and --upstream, such as http://oidcgate.login.svc:8080.
# The controller carries websockets itself once the gate has said yes. It cannot end one at sign-out: a terminal that is
# open then lives on until the UI or the browser closes it.
# Leave out auth-cache-key: what it keeps outlives a sign-out, and locks people out after a login.
# It takes 8 kB a line of a request's head; large-client-header-buffers in its ConfigMap changes that.
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: <ui_service>
  namespace: <ui_namespace>
  annotations:
    # The host tells which server asks: a request line may name another one than Host does (RFC 9112, 3.2.2).
    nginx.ingress.kubernetes.io/auth-url: "<gate><prefix>/auth/nginx?host=$host"
    nginx.ingress.kubernetes.io/auth-signin: "<signin>"
    # What the gate says, and what nobody else may say: the client's copies of all of these are dropped.
    nginx.ingress.kubernetes.io/auth-response-headers: "<names>"
    # An answer that may hold a token of 16 kB in several headers.
    nginx.ingress.kubernetes.io/proxy-buffer-size: "64k"
    nginx.ingress.kubernetes.io/proxy-buffers-number: "4"
    # Streams through, however long.
    nginx.ingress.kubernetes.io/proxy-buffering: "off"
    nginx.ingress.kubernetes.io/proxy-request-buffering: "off"
    nginx.ingress.kubernetes.io/proxy-body-size: "0"
    nginx.ingress.kubernetes.io/proxy-read-timeout: "3600"
    nginx.ingress.kubernetes.io/proxy-send-timeout: "3600"
    # With passthrough nginx sees no HTTP, and nothing above happens: the chart of Dashboard 7 switches it on.
    nginx.ingress.kubernetes.io/ssl-passthrough: "false"
    nginx.ingress.kubernetes.io/backend-protocol: "<ui_protocol>"
    <ui_tls>
spec:
  ingressClassName: nginx
  <tls>
  rules:
    - host: "<host>"
      http:
        paths:
          - path: /
            pathType: Prefix
            backend: {service: {name: <ui_service>, port: {number: <ui_port>}}}
<own>
"""

OWN = """\
---
# The gate's own pages: the login and the way out.
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: <ui_service>-login
  namespace: <gate_namespace>
  annotations:
    nginx.ingress.kubernetes.io/proxy-buffer-size: "16k"
    nginx.ingress.kubernetes.io/backend-protocol: "<gate_protocol>"
spec:
  ingressClassName: nginx
  <tls>
  rules:
    - host: "<host>"
      http:
        paths:
          - path: <prefix>
            pathType: Prefix
            backend: {service: {name: <gate_service>, port: {number: <gate_port>}}}
---
# Below auth there are answers with tokens in them. Annotations cannot say 404; this says 403 to everybody.
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: <ui_service>-question
  namespace: <gate_namespace>
  annotations:
    nginx.ingress.kubernetes.io/denylist-source-range: "0.0.0.0/0,::/0"
spec:
  ingressClassName: nginx
  <tls>
  rules:
    - host: "<host>"
      http:
        paths:
          - path: <prefix>/auth
            pathType: Prefix
            backend: {service: {name: <gate_service>, port: {number: <gate_port>}}}
"""
UI_TLS = (
    "# Its certificate is not checked by default. With its CA in a Secret's ca.crt:",
    "# nginx.ingress.kubernetes.io/proxy-ssl-secret: <ui_namespace>/<ui_service>-ca",
    '# nginx.ingress.kubernetes.io/proxy-ssl-verify: "on"',
    '# nginx.ingress.kubernetes.io/proxy-ssl-server-name: "on"',
)


def render(plan: Plan) -> str:
    """One Ingress for the UI; unless one cookie serves all hosts, one more for the gate, and one that shuts a door."""
    host = plan.host.partition(":")[0]
    ui_service, ui_namespace, ui_port = service(plan.upstream, "ui")
    gate_service, gate_namespace, gate_port = service(plan.gate, "oidcgate")
    values = {
        "host": host,
        "prefix": plan.prefix,
        "ui_service": ui_service,
        "ui_namespace": ui_namespace,
        "ui_port": str(ui_port),
        "gate_service": gate_service,
        "gate_namespace": gate_namespace,
        "gate_port": str(gate_port),
    }
    tls = [f'tls: [{{hosts: ["{host}"], secretName: {plan.slug.replace("_", "-")}-tls}}]'] if plan.ends_tls else []
    return fill(
        TEMPLATE,
        **values,
        site=plan.site,
        gate=plan.gate,
        signin=sign_in(plan),
        names=",".join((*plan.identity_headers, *claims(plan), *WAYS)),
        ui_protocol=_protocol(plan.upstream),
        ui_tls=[fill(line, **values) for line in UI_TLS] if plan.upstream.startswith("https:") else (),
        tls=tls,
        own=() if plan.shared_cookie else fill(OWN, **values, tls=tls, gate_protocol=_protocol(plan.gate)),
    )


def sign_in(plan: Plan) -> str:
    """Where the controller sends people; it appends the whole address as ``rd`` where there is none."""
    if plan.shared_cookie:
        return f"{plan.login}{plan.prefix}/start"
    return f"{plan.site}{plan.prefix}/start?rd=$escaped_request_uri"


def service(origin: str, otherwise: str) -> tuple[str, str, int]:
    """Name, namespace and port of the Service that an address such as ``http://name.namespace.svc:80`` means."""
    if origin.startswith("unix:"):
        return otherwise, otherwise, 80
    parsed = parse_origin(origin)
    name, *rest = parsed.host.split(".")
    if len(rest) > 1 and rest[1] == "svc":
        return name, rest[0], parsed.port
    return otherwise, otherwise, parsed.port


def _protocol(origin: str) -> str:
    return "HTTPS" if origin.startswith("https:") else "HTTP"
