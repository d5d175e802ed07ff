"""
Gateway API: an ``HTTPRoute`` with the ``ExternalAuth`` filter, for whatever gateway implements it.

Pure. The filter is experimental in Gateway API 1.6 and its words are Envoy's, so it asks in Envoy's way.
Sources: Gateway API HTTPRoute, GEP-1494.
"""

import json
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from oidcgate.config.addresses import DEFAULT_PORT
from oidcgate.snippets.plan import HEADER_GROUPS, Plan
from oidcgate.snippets.text import fill

GATE = ("oidcgate", "oidcgate", 8080)  # name, namespace and port where the gate's address does not say them
UI = ("ui", "ui", 80)
SERVICE = re.compile(r"([a-z0-9-]+)(?:\.([a-z0-9-]+)\.svc(?:\..+)?)?")
# What the gate judges by; Host, Authorization and the request line go along by themselves.
ASKED = (
    "Cookie",
    "Origin",
    "Referer",
    "Accept",
    "User-Agent",
    "X-Forwarded-For",
    "X-Request-Id",
    "Upgrade",
    "Sec-Fetch-Site",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Dest",
    "Sec-Fetch-User",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
)
# Who somebody is, by names that the gate never sets; those that matter most come first.
CLAIMS = (
    "Impersonate-User",
    "Impersonate-Group",
    "Impersonate-Uid",
    "X-Remote-User",
    "X-Remote-Group",
    "jweToken",
    "X-WebAuth-User",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-HTTP-Method-Override",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Forwarded-Access-Token",
    "X-Auth-Request-Access-Token",
    "X-Remote-Uid",
    "X-Envoy-Original-Path",
)

TEMPLATE = """\
# Gateway API (1.6 or newer, experimental channel: the ExternalAuth filter), asking oidcgate who may use <site>
#
# The gate must know the gateway: forward_auth: {peers: [its pods' network]} there. Nobody else is given tokens.
# The gateway carries websockets itself once the gate has said yes. It cannot end one at sign-out: a terminal that is
# open then lives on until the UI or the browser closes it.
# Your gateway must pass on what comes with a refusal (Location, bodies), deny when the gate cannot be reached, and drop
# or refuse header names with underscores: the API leaves these to it. It cannot keep single cookies back.
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: <name>, namespace: <ui_namespace>}
spec:
  parentRefs: [{name: gateway, namespace: gateway}] # yours
  hostnames: [<hostname>]
  rules:
    - matches: [{path: {type: PathPrefix, value: /}}]
      filters:
        - type: ExternalAuth
          externalAuth:
            protocol: HTTP
            backendRef: <gate>
            http:
              path: <prefix>/auth/envoy
              allowedHeaders: <asked>
              # Each takes the place of what the client sent.
              allowedResponseHeaders: <identity>
        # Nobody else's word counts. The API drops 16 names, and none by prefix: Impersonate-Extra-* passes, which
        # without Impersonate-User means nothing.
        - type: RequestHeaderModifier
          requestHeaderModifier:
            remove: <claims>
      # A log may be followed for long.
      timeouts: {request: 0s}
      backendRefs: [<ui>]
<own_routes>
---
# The question crosses into the gate's namespace.
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: <name>, namespace: <gate_namespace>}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: <ui_namespace>}]
  to: [{group: "", kind: Service, name: <gate_name>}]
"""

OWN_ROUTES = """\
---
# The gate's own pages: the login and the way out.
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: <name>-oidcgate, namespace: <gate_namespace>}
spec:
  parentRefs: [{name: gateway, namespace: gateway}] # yours
  hostnames: [<hostname>]
  rules:
    # Asked by a client, the gate would hand the person's token to scripts. Without a backend a gateway answers 500:
    # the API knows no fixed answers.
    - matches: [{path: {type: PathPrefix, value: <prefix>/auth}}]
    - matches: [{path: {type: PathPrefix, value: <prefix>}}]
      backendRefs: [<gate>]
"""


@dataclass(frozen=True, slots=True)
class Service:
    """A Kubernetes Service."""

    name: str
    namespace: str
    port: int

    @property
    def reference(self) -> str:
        """As a ``backendRef``."""
        return f"{{name: {self.name}, namespace: {self.namespace}, port: {self.port}}}"


def render(plan: Plan) -> str:
    """Routes for the UI and the gate's own pages, and a grant."""
    gate, ui = gate_service(plan), ui_service(plan)
    names = {
        "name": resource_name(plan),
        "hostname": json.dumps(hostname(plan)),
        "prefix": plan.prefix,
        "gate": gate.reference,
        "gate_namespace": gate.namespace,
    }
    return fill(
        TEMPLATE,
        **names,
        site=plan.site,
        ui=ui.reference,
        ui_namespace=ui.namespace,
        gate_name=gate.name,
        asked=listed(ASKED),
        identity=listed(plan.identity_headers),
        claims=listed(removed(plan)),
        own_routes=fill(OWN_ROUTES, **names) if has_own_paths(plan) else elsewhere(plan),
    )


def has_own_paths(plan: Plan) -> bool:
    """Whether the gate has pages on the UI's host."""
    return not plan.shared_cookie or plan.site == plan.login


def elsewhere(plan: Plan) -> str:
    """What stands where those pages would."""
    return f"# Sign-in is at {plan.login}{plan.prefix}/, whose cookie serves this host, too."


def listed(names: tuple[str, ...]) -> str:
    """Names as a YAML list on one line."""
    return f"[{', '.join(names)}]"


def removed(plan: Plan) -> tuple[str, ...]:
    """Names to delete on the way to the UI, 16 at most; none that the gate sets, since no order of filters is said."""
    known = [name for group in HEADER_GROUPS.values() for name in group]
    return (*(name for name in known if name not in plan.identity_headers), *CLAIMS)[:16]


def resource_name(plan: Plan) -> str:
    """The host as the name of a resource."""
    return plan.slug.replace("_", "-")


def hostname(plan: Plan) -> str:
    """The site's host without a port; a ``*`` stands for any number of labels."""
    return plan.host.rpartition(":")[0] or plan.host


def gate_service(plan: Plan) -> Service:
    """The gate's Service; its usual name where the gate listens on this machine or a socket."""
    return _service(plan.gate, GATE)


def ui_service(plan: Plan) -> Service:
    """The UI's Service."""
    return _service(plan.upstream, UI)


def _service(url: str, otherwise: tuple[str, str, int]) -> Service:
    """``http://name.namespace.svc:80`` names a Service; for any other address, a name to be replaced."""
    parts = urlsplit(url)
    match = SERVICE.fullmatch(parts.hostname or "")
    if match is None or (parts.hostname or "").startswith("localhost"):
        return Service(*otherwise)
    return Service(match[1], match[2] or otherwise[1], parts.port or DEFAULT_PORT[parts.scheme])
