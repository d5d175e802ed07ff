"""
Traefik: a static file, and a dynamic one for the file provider, with ``forwardAuth``.

Pure. Rules of this file:
- The entry point drops what clients say of host, scheme and way, and headers under aliases of their names.
- Headers are deleted by name or pattern only as a side effect of being copied from the gate's answer.
- Traefik has no fixed answers: an allow-list of addresses that nobody has refuses with 404.
"""

import json
import re
from collections.abc import Iterable

from oidcgate.proxy.headers import FORWARDING, IDENTITY, PREFIXES
from oidcgate.snippets.plan import Plan
from oidcgate.snippets.text import fill

NOBODY = "255.255.255.255/32"  # no connection comes from the broadcast address
# Beginning with X-Forwarded-: those that say who somebody is or which way a request came, less Traefik's own.
FORWARDED = {
    f"x-forwarded-{name}"
    for name in ("user", "group", "groups", "email", "preferred-username", "id-token", "access-token", "uri", "method")
}
BEARER_PROTOCOL = r"base64url\.bearer\.authorization\.k8s\.io\."

TEMPLATE = """\
# Traefik (3.7.12 or newer), asking oidcgate who may use <site>: two files, for traefik --configFile=traefik.yaml
#
# The gate must know this Traefik: forward_auth: {peers: [its address]} there. Nobody else is given tokens.
# Traefik carries websockets itself once the gate has said yes. It cannot end one at sign-out: a terminal that is open
# then lives on until the UI or the browser closes it.
# Traefik cannot keep single cookies back: the UI sees the gate's, too. Its own cookies for tokens, which would win over
# the gate's token, are expired when somebody signs in.
<no_sockets>

# ---- file: traefik.yaml
global: {checkNewVersion: false, sendAnonymousUsage: false}
entryPoints:
  site:
    address: <listen>
    # Nobody's X-Forwarded-* is believed.
    forwardedHeaders: {insecure: false}
    http:
      # Some servers read X_Remote_User or X.Remote.User as X-Remote-User.
      aliasHeadersStrategy: delete
      # The UI could take it for a slash.
      encodedCharacters: {allowEncodedBackSlash: false, allowEncodedNullCharacter: false}
    transport:
      # For a whole body to arrive; the default of 60 s ends long uploads.
      respondingTimeouts: {readTimeout: 1h}
providers:
  file:
    filename: oidcgate.yaml

# ---- file: oidcgate.yaml
http:
  routers:
    <own_routers>
    ui:
      entryPoints: [site]
      rule: <rule>
      <priority>
      middlewares: [oidcgate]
      service: ui
      <tls>
    # API servers take a token from here, too.
    ui-token-in-websocket:
      entryPoints: [site]
      rule: <rule_websocket>
      priority: 100000
      middlewares: [nobody]
      service: noop@internal
      <tls>

  middlewares:
    oidcgate:
      forwardAuth:
        <forward_auth>
    # Traefik has no fixed answers. Nobody comes from this address.
    nobody:
      ipAllowList: {sourceRange: [<nobody>], rejectStatusCode: 404}

  services:
    <gate_service>
    ui:
      loadBalancer:
        passHostHeader: true
        # Logs and events leave as they come.
        responseForwarding: {flushInterval: -1ms}
        servers: [{url: <ui>}]
        <ui_transport>
<transports>
<certificates>
"""

FORWARD_AUTH = """\
address: <address>
trustForwardHeader: false
# The gate names the site, not itself, where people go to sign in.
preserveLocationHeader: true
# Of the gate's pages; there is no limit by default.
maxResponseBodySize: 1048576
# Each takes the place of what the client sent, and is deleted where the gate sends nothing.
authResponseHeaders:
  <names>
# The gate sends few of these, but what fits is deleted first: that is how the client's copies go.
authResponseHeadersRegex: <pattern>
"""

OWN_ROUTERS = """\
# Asked by a client, the gate would hand the person's token to scripts.
oidcgate-question:
  entryPoints: [site]
  rule: <rule_question>
  priority: 100002
  middlewares: [nobody]
  service: noop@internal
  <tls>
# The gate's own pages: the login and the way out.
oidcgate:
  entryPoints: [site]
  rule: <rule_own>
  priority: 100001
  service: oidcgate
  <tls>
"""

NO_SOCKETS = "# Traefik dials no Unix sockets: let the gate and the UI listen on ports, and write them below."

GATE_SERVICE = """\
oidcgate:
  loadBalancer:
    servers: [{{url: {url}}}]
"""


def render(plan: Plan) -> str:
    """Two files, each after a line with its name."""
    own = has_own_paths(plan)
    tls = ["tls: {}"] if plan.ends_tls else []
    rule = host_rule(plan)
    transport = _transport(plan)
    return fill(
        TEMPLATE,
        site=plan.site,
        no_sockets=[NO_SOCKETS] if "unix:" in plan.gate + plan.upstream else [],
        listen=json.dumps(plan.listen),
        own_routers=_own_routers(plan, tls),
        rule=yaml_text(rule),
        priority=priority(plan),
        rule_websocket=yaml_text(f"{rule} && {websocket_rule()}"),
        tls=tls,
        forward_auth=forward_auth(plan, gate_url(plan)),
        nobody=json.dumps(NOBODY),
        gate_service=GATE_SERVICE.format(url=json.dumps(gate_url(plan))) if own else [],
        ui=json.dumps(plan.upstream),
        ui_transport=["serversTransport: ui"] if transport else [],
        transports=["  serversTransports:", "    ui:", *(f"      {line}" for line in transport)] if transport else [],
        certificates=_certificates(plan),
    )


def has_own_paths(plan: Plan) -> bool:
    """Whether the gate has pages on the UI's host."""
    return not plan.shared_cookie or plan.site == plan.login


def yaml_text(text: str) -> str:
    """A text in YAML's single quotes, where a backslash is a backslash."""
    return "'" + text.replace("'", "''") + "'"


def gate_url(plan: Plan) -> str:
    """The gate's address; Traefik dials no Unix sockets."""
    return "http://127.0.0.1:8080" if plan.gate.startswith("unix:") else plan.gate


def forward_auth(plan: Plan, gate: str) -> list[str]:
    """The options of the middleware that asks the gate at an address."""
    text = fill(
        FORWARD_AUTH,
        address=json.dumps(f"{gate}{plan.prefix}/auth/traefik"),
        names=[f"- {name}" for name in plan.identity_headers],
        pattern=yaml_text(claims_pattern()),
    )
    return text.splitlines()


def claims_pattern() -> str:
    """Matches the names that only the gate or Traefik may set, in each spelling that a server may read so."""
    prefixes = [f"{spelled(prefix)}.*" for prefix in PREFIXES if prefix != "x-forwarded-"]
    names = sorted({*IDENTITY, *FORWARDING, *FORWARDED} - {"x-real-ip"})  # X-Real-Ip is Traefik's own
    parts = [*prefixes, *map(spelled, names)]
    return f"(?i)^(?:{'|'.join(parts)})$"


def spelled(name: str) -> str:
    """A pattern for a name and its aliases."""
    return re.sub(r"-", "[-_.]+", name)


def host_rule(plan: Plan) -> str:
    """Matches the site's host; Traefik leaves the port out."""
    host = plan.host.rpartition(":")[0] or plan.host
    if not plan.is_wildcard:
        return f"Host(`{host}`)"
    return f"HostRegexp(`^[a-z0-9.-]+{re.escape(host.removeprefix('*'))}$`)"


def priority(plan: Plan) -> list[str]:
    """A wildcard comes last: else Traefik prefers it, being long, to the login's own host."""
    return ["priority: 1 # after every host that has a route of its own"] if plan.is_wildcard else []


def websocket_rule() -> str:
    """Matches a handshake that brings a token in a subprotocol."""
    return f"HeaderRegexp(`Sec-Websocket-Protocol`, `{BEARER_PROTOCOL}`)"


def question_rule(plan: Plan) -> str:
    """Matches the gate's questions, and spellings that none of its other pages needs."""
    return f"{host_rule(plan)} && PathRegexp(`(?i)^{plan.prefix}(?:/+auth|(?:/.*)?[%;])`)"


def own_rule(plan: Plan) -> str:
    """Matches the gate's own paths."""
    return f"{host_rule(plan)} && (Path(`{plan.prefix}`) || PathPrefix(`{plan.prefix}/`))"


def _own_routers(plan: Plan, tls: Iterable[str]) -> str:
    if not has_own_paths(plan):
        return f"# Sign-in is at {plan.login}{plan.prefix}/, whose cookie serves this host, too."
    return fill(OWN_ROUTERS, rule_question=yaml_text(question_rule(plan)), rule_own=yaml_text(own_rule(plan)), tls=tls)


def _transport(plan: Plan) -> list[str]:
    """How the UI's certificate is checked, where that is not the usual way."""
    if not plan.upstream.startswith("https:"):
        return []
    lines = [f"rootCAs: [{json.dumps(plan.upstream_ca_file)}]"] if plan.upstream_ca_file else []
    lines += [f"serverName: {json.dumps(plan.upstream_name)}"] if plan.upstream_name else []
    return lines if plan.upstream_verify else [*lines, "insecureSkipVerify: true"]


def _certificates(plan: Plan) -> list[str]:
    """Traefik's certificate, where it ends TLS."""
    if not plan.ends_tls:
        return []
    certificate = json.dumps(plan.cert_file or "/etc/traefik/tls.crt")
    key = json.dumps(plan.key_file or "/etc/traefik/tls.key")
    return ["tls:", f"  certificates: [{{certFile: {certificate}, keyFile: {key}}}]"]
