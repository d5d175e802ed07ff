"""
Traefik on Kubernetes: ``Middleware`` and ``IngressRoute``.

Pure. The rules are those of ``traefik``; only the entry points are out of reach here, so a comment says what they need.
"""

import json

from oidcgate.snippets import traefik
from oidcgate.snippets.gateway_api import Service, elsewhere, gate_service, has_own_paths, resource_name, ui_service
from oidcgate.snippets.plan import Plan
from oidcgate.snippets.text import fill
from oidcgate.snippets.traefik import yaml_text

TEMPLATE = """\
# Traefik (3.7.12 or newer) on Kubernetes, asking oidcgate who may use <site>
#
# The gate must know this Traefik: forward_auth: {peers: [its pods' network]} there. Nobody else is given tokens.
# Traefik carries websockets itself once the gate has said yes. It cannot end one at sign-out: a terminal that is open
# then lives on until the UI or the browser closes it.
# Traefik cannot keep single cookies back: the UI sees the gate's, too. Its own cookies for tokens, which would win over
# the gate's token, are expired when somebody signs in.
# Its static configuration needs, besides (forwardedHeaders.insecure stays off):
#   --entryPoints.<entry_point>.http.aliasHeadersStrategy=delete
#   --entryPoints.<entry_point>.http.encodedCharacters.allowEncodedBackSlash=false
#   --entryPoints.<entry_point>.transport.respondingTimeouts.readTimeout=1h
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: oidcgate, namespace: <ui_namespace>}
spec:
  forwardAuth:
    <forward_auth>
<nobody>
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: <name>, namespace: <ui_namespace>}
spec:
  entryPoints: [<entry_point>]
  <tls>
  routes:
    - kind: Rule
      match: <rule>
      <priority>
      middlewares: [{name: oidcgate}]
      services:
        - name: <ui_name>
          port: <ui_port>
          <ui_scheme>
          passHostHeader: true
          # Logs and events leave as they come.
          responseForwarding: {flushInterval: -1ms}
    # API servers take a token from here, too.
    - kind: Rule
      match: <rule_websocket>
      priority: 100000
      middlewares: [{name: nobody}]
      services: [{kind: TraefikService, name: noop@internal}]
<own_routes>
<transport>
"""

NOBODY = """\
---
# Traefik has no fixed answers. Nobody comes from this address.
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: nobody, namespace: <namespace>}
spec:
  ipAllowList: {sourceRange: [<address>], rejectStatusCode: 404}
"""

OWN_ROUTES = """\
---
# The gate's own pages: the login and the way out.
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: <name>-oidcgate, namespace: <gate_namespace>}
spec:
  entryPoints: [<entry_point>]
  <tls>
  routes:
    # Asked by a client, the gate would hand the person's token to scripts.
    - kind: Rule
      match: <rule_question>
      priority: 100002
      middlewares: [{name: nobody}]
      services: [{kind: TraefikService, name: noop@internal}]
    - kind: Rule
      match: <rule_own>
      priority: 100001
      services: [{name: <gate_name>, port: <gate_port>}]
"""

TRANSPORT = """\
---
# How the UI's certificate is checked. Its CA belongs into a Secret or ConfigMap of the UI's namespace.
apiVersion: traefik.io/v1alpha1
kind: ServersTransport
metadata: {name: <name>, namespace: <namespace>}
spec:
  <lines>
"""


def render(plan: Plan) -> str:
    """Resources for the UI's namespace, and for the gate's."""
    gate, ui = gate_service(plan), ui_service(plan)
    rule = traefik.host_rule(plan)
    names = {
        "name": resource_name(plan),
        "entry_point": "websecure" if plan.ends_tls else "web",
        "tls": [f"tls: {{secretName: {resource_name(plan)}}}"] if plan.ends_tls else [],
    }
    return fill(
        TEMPLATE,
        **names,
        site=plan.site,
        ui_namespace=ui.namespace,
        forward_auth=traefik.forward_auth(plan, f"http://{gate.name}.{gate.namespace}.svc:{gate.port}"),
        nobody=_nobody(plan, gate, ui),
        rule=yaml_text(rule),
        priority=traefik.priority(plan),
        ui_name=ui.name,
        ui_port=str(ui.port),
        ui_scheme=_scheme(plan),
        rule_websocket=yaml_text(f"{rule} && {traefik.websocket_rule()}"),
        own_routes=_own_routes(plan, gate, names) if has_own_paths(plan) else elsewhere(plan),
        transport=_transport(plan, ui),
    )


def _nobody(plan: Plan, gate: Service, ui: Service) -> str:
    """The middleware that refuses, in each namespace that needs it."""
    namespaces = {ui.namespace: None, **({gate.namespace: None} if has_own_paths(plan) else {})}
    return "".join(fill(NOBODY, namespace=name, address=json.dumps(traefik.NOBODY)) for name in namespaces)


def _own_routes(plan: Plan, gate: Service, names: dict[str, str | list[str]]) -> str:
    return fill(
        OWN_ROUTES,
        **names,
        gate_name=gate.name,
        gate_namespace=gate.namespace,
        gate_port=str(gate.port),
        rule_question=yaml_text(traefik.question_rule(plan)),
        rule_own=yaml_text(traefik.own_rule(plan)),
    )


def _scheme(plan: Plan) -> list[str]:
    """What is said of an upstream with TLS."""
    if not plan.upstream.startswith("https:"):
        return []
    return ["scheme: https", *([f"serversTransport: {resource_name(plan)}"] if _transport_lines(plan) else [])]


def _transport(plan: Plan, ui: Service) -> str:
    lines = _transport_lines(plan)
    return fill(TRANSPORT, name=resource_name(plan), namespace=ui.namespace, lines=lines) if lines else ""


def _transport_lines(plan: Plan) -> list[str]:
    if not plan.upstream.startswith("https:"):
        return []
    lines = [f"rootCAs: [{{secret: {resource_name(plan)}-ca}}]"] if plan.upstream_ca_file else []
    lines += [f"serverName: {plan.upstream_name}"] if plan.upstream_name else []
    return lines if plan.upstream_verify else [*lines, "insecureSkipVerify: true"]
