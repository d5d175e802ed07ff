"""
Envoy Gateway: an ``HTTPRoute`` and a ``SecurityPolicy`` with ``extAuth``, and what else Envoy must be told there.

Pure. The rules are those of ``envoy``, in Envoy Gateway's words; what it has no words for is done by the same Lua.
Sources: gateway.envoyproxy.io, API reference of v1alpha1.
"""

import json

from oidcgate.snippets import envoy
from oidcgate.snippets.gateway_api import (
    ASKED,
    elsewhere,
    gate_service,
    has_own_paths,
    hostname,
    listed,
    resource_name,
    ui_service,
)
from oidcgate.snippets.plan import Plan
from oidcgate.snippets.text import fill

TEMPLATE = """\
# Envoy Gateway (1.5 or newer), asking oidcgate who may use <site>
#
# The gate must know the gateway: forward_auth: {peers: [its pods' network]} there. Nobody else is given tokens.
# Envoy carries websockets itself once the gate has said yes. It cannot end one at sign-out: a terminal that is open
# then lives on until the UI or the browser closes it, or an hour passes without a byte.
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: <name>, namespace: <ui_namespace>}
spec:
  parentRefs: [{name: gateway, namespace: gateway}] # yours
  hostnames: [<hostname>]
  rules:
    - matches: [{path: {type: PathPrefix, value: /}}]
      # A log may be followed for long; the default is 15 s in all.
      timeouts: {request: 0s}
      <removed>
      backendRefs: [<ui>]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: <name>, namespace: <ui_namespace>}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: <name>}]
  extAuth:
    failOpen: false
    # Now and then the gate waits for the issuer to renew a token.
    timeout: 10s
    # What the gate judges by; Envoy itself adds Host and Authorization only.
    headersToExtAuth: <asked>
    http:
      backendRefs: [<gate>]
      path: <prefix>/auth/envoy
      # Each takes the place of what the client sent.
      headersToBackend: <identity>
---
# After the gate has said yes.
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: {name: <name>, namespace: <ui_namespace>}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: <name>}]
  lua:
    - type: Inline
      inline: |
        <lua>
---
# For the whole gateway.
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: ClientTrafficPolicy
metadata: {name: oidcgate, namespace: gateway}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gateway}]
  # The path that is asked about is the path that the UI gets. The gate judges each way of reading it, %2F included.
  path: {escapedSlashesAction: KeepUnchanged, disableMergeSlashes: true}
  headers:
    # Some servers read X_Remote_User as X-Remote-User.
    withUnderscoresAction: DropHeader
  # A terminal may be quiet for long; the default is 5 minutes.
  timeout: {http: {streamIdleTimeout: 1h}}
<own_routes>
---
# The question crosses into the gate's namespace.
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: <name>, namespace: <gate_namespace>}
spec:
  from: [{group: gateway.envoyproxy.io, kind: SecurityPolicy, namespace: <ui_namespace>}]
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
    # Asked by a client, the gate would hand the person's token to scripts; its other pages need no such spellings.
    - matches:
        - {path: {type: PathPrefix, value: <prefix>/auth}}
        - {path: {type: RegularExpression, value: '<prefix>(/.*)?(%|;|//|\\\\|/\\.).*'}}
      filters:
        - type: ExtensionRef
          extensionRef: {group: gateway.envoyproxy.io, kind: HTTPRouteFilter, name: <name>-not-found}
    - matches: [{path: {type: PathPrefix, value: <prefix>}}]
      backendRefs: [<gate>]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: HTTPRouteFilter
metadata: {name: <name>-not-found, namespace: <gate_namespace>}
spec:
  directResponse: {statusCode: 404}
"""

NO_AUTHORIZATION = """\
filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [Authorization]}}]
"""


def render(plan: Plan) -> str:
    """Routes for the UI and the gate's own pages, the policies, and a grant."""
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
        removed="" if "Authorization" in plan.identity_headers else NO_AUTHORIZATION,
        asked=listed(ASKED),
        identity=listed(plan.identity_headers),
        lua=envoy.lua(plan),
        own_routes=fill(OWN_ROUTES, **names) if has_own_paths(plan) else elsewhere(plan),
    )
