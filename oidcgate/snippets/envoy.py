"""
Envoy: a whole bootstrap file with ``ext_authz`` over HTTP.

Pure. Rules of this file:
- What a client says of itself is deleted before routing, so that only the gate's words reach the UI.
- The path that is matched and asked about is the path that is passed on: nothing is normalised on the way.
- Envoy asks with few headers unless told more, and waits and buffers as it likes unless told how.
"""

import ipaddress
import json
from collections.abc import Iterable

from oidcgate.config.addresses import parse_origin
from oidcgate.proxy.headers import FORWARDING, IDENTITY, PREFIXES
from oidcgate.proxy.ui import PRESETS
from oidcgate.snippets.plan import Plan
from oidcgate.snippets.text import fill
from oidcgate.snippets.traefik import FORWARDED

# What the gate judges by, besides Host, Authorization and the request line, which Envoy always sends.
ASKED = ("cookie", "origin", "referer", "accept", "user-agent", "x-forwarded-for", "x-request-id", "upgrade")
ASKED_PREFIXES = ("sec-fetch-", "sec-websocket-", "access-control-request-")
# Of an answer that is not a yes; Location, Content-Length and WWW-Authenticate come by themselves.
ANSWERED = (
    "content-type",
    "cache-control",
    "retry-after",
    "vary",
    "content-security-policy",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "strict-transport-security",
    "permissions-policy",
)
ANSWERED_PREFIXES = ("cross-origin-",)
# Who it is and which way it came, less what Envoy itself says; Authorization goes to the gate first.
CLAIMS = (
    *(f"{prefix}*" for prefix in PREFIXES if prefix != "x-forwarded-"),
    *sorted({*IDENTITY, *FORWARDING, *FORWARDED} - {"authorization"}),
    "x-envoy-original-*",
)
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"

TEMPLATE = """\
# Envoy (1.36 or newer), asking oidcgate who may use <site>
#
# The gate must know this Envoy: forward_auth: {peers: [its address]} there. Nobody else is given tokens.
# Envoy carries websockets itself once the gate has said yes. It cannot end one at sign-out: a terminal that is open
# then lives on until the UI or the browser closes it, or an hour passes without a byte.
static_resources:
  listeners:
    - name: site
      address: <listen>
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": <type>.network.http_connection_manager.v3.HttpConnectionManager
                <manager>
                http_filters:
                  - name: envoy.filters.http.ext_authz
                    typed_config:
                      "@type": <type>.http.ext_authz.v3.ExtAuthz
                      <question>
                  - name: envoy.filters.http.lua
                    typed_config:
                      "@type": <type>.http.lua.v3.Lua
                      default_source_code:
                        inline_string: |
                          <lua>
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": <type>.http.router.v3.Router
                      suppress_envoy_headers: true
                route_config:
                  virtual_hosts:
                    - name: ui
                      domains: <domains>
                      routes:
                        # What two programs could read differently goes to neither.
                        - match: {safe_regex: {regex: '.*(\\\\|%([^0-9A-Fa-f]|[0-9A-Fa-f]([^0-9A-Fa-f]|$)|$)).*'}}
                          direct_response: {status: 400}
                          typed_per_filter_config: &unasked
                            envoy.filters.http.ext_authz:
                              "@type": <type>.http.ext_authz.v3.ExtAuthzPerRoute
                              disabled: true
                            envoy.filters.http.lua:
                              "@type": <type>.http.lua.v3.LuaPerRoute
                              disabled: true
                        <own_routes>
                        - match: {prefix: "/"}
                          route:
                            cluster: ui
                            # A log may be followed for long; the default is 15 s in all.
                            timeout: 0s
                            idle_timeout: 3600s
                          <removed>
          <tls>
  clusters:
    <clusters>
"""

MANAGER = """\
stat_prefix: site
# The connection's address and scheme are told on, not what the client says.
use_remote_address: true
# The path that is asked about is the path that the UI gets, byte for byte. %2F passes, since some UIs need it: the gate
# judges each way of reading a path.
normalize_path: false
merge_slashes: false
path_with_escaped_slashes_action: KEEP_UNCHANGED
# Cookies of sibling hosts add up; the default is 60.
max_request_headers_kb: 96
# A terminal may be quiet for long; the default is 5 minutes.
stream_idle_timeout: 3600s
request_headers_timeout: 15s
common_http_protocol_options:
  # Some servers read X_Remote_User as X-Remote-User.
  headers_with_underscores_action: DROP_HEADER
upgrade_configs: [{upgrade_type: websocket}]
early_header_mutation_extensions:
  - name: envoy.http.early_header_mutation.header_mutation
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation
      mutations:
        # Who it is and which way it came: nobody else's word counts. By x-envoy-* clients could steer Envoy.
        <mutations>
local_reply_config:
  mappers:
    # Envoy keeps the body of the gate's 503 to itself.
    - filter:
        and_filter:
          filters:
            - response_flag_filter: {flags: [UAEX]}
            - status_code_filter: {comparison: {op: EQ, value: {default_value: 503, runtime_key: unused}}}
      headers_to_add:
        - header: {key: Retry-After, value: "3"}
        - header: {key: Refresh, value: "3"}
        - header: {key: Cache-Control, value: no-store}
      body_format_override:
        text_format_source:
          inline_string: "Who may pass cannot be found out just now. This page tries again by itself.\\n"
"""

QUESTION = """\
transport_api_version: V3
failure_mode_allow: false
# While the gate cannot say; the default, 403, would tell people that they have no access.
status_on_error: {code: ServiceUnavailable}
# What the gate judges by; Envoy itself adds Host and Authorization only.
allowed_headers: <asked>
http_service:
  server_uri:
    uri: <uri>
    cluster: oidcgate
    # Now and then the gate waits for the issuer to renew a token; 200 ms, as is usual, would make that a 503.
    timeout: 10s
  path_prefix: <prefix>/auth/envoy
  authorization_response:
    # Each takes the place of what the client sent.
    allowed_upstream_headers: <identity>
    # Of an answer that is not a yes, to the browser.
    allowed_client_headers: <answered>
"""

LUA = """\
local COOKIES = {<cookies>}
local CLAIMS = {<claims>}
local IDENTITY = {<identity>}
local function is_one_of(name, patterns)
  for _, pattern in ipairs(patterns) do
    if name == pattern then return true end
    if pattern:sub(-1) == "*" and name:sub(1, #pattern - 1) == pattern:sub(1, -2) then return true end
  end
  return false
end
local function stays(cookie)
  local name = cookie:match("^%s*([^=]-)%s*$") or cookie:match("^%s*([^=]-)%s*=")
  name = name:lower():gsub("^__host%-", ""):gsub("^__secure%-", "")
  return is_one_of(name, COOKIES)
end
local function is_token(protocol)
  return protocol:find("base64url.bearer.authorization.k8s.io.", 1, true)
end
local function without(headers, name, separator, unwanted)
  local value = headers:get(name)
  if not value then return end
  local kept = {}
  for part in value:gmatch("[^" .. separator .. "]+") do
    if not unwanted(part) then kept[#kept + 1] = part:match("^%s*(.-)%s*$") end
  end
  headers:remove(name)
  if #kept > 0 then headers:add(name, table.concat(kept, separator .. " ")) end
end
local function is_claim(name)
  return name:find("[_.]") or is_one_of(name, CLAIMS) and not is_one_of(name, IDENTITY)
end
function envoy_on_request(request)
  local headers = request:headers()
  -- The gate's cookies are no business of the UI's, nor are those that would win over the gate's token.
  without(headers, "cookie", ";", stays)
  -- API servers take a token from here, too.
  without(headers, "sec-websocket-protocol", ",", is_token)
  -- Nobody else's word counts, and where the gate says nothing there is no header.
  local removed = {}
  for name, value in pairs(headers) do
    if is_claim(name) or value == "" and is_one_of(name, IDENTITY) then removed[#removed + 1] = name end
  end
  for _, name in ipairs(removed) do headers:remove(name) end
end
"""

OWN_ROUTES = """\
# Asked by a client, the gate would hand the person's token to scripts; none of its other pages needs such spellings.
- match: {prefix: "<prefix>/auth"}
  direct_response: {status: 404}
  typed_per_filter_config: *unasked
- match: {safe_regex: {regex: '<prefix>(/.*)?(%|;|//|\\\\|/\\.).*'}}
  direct_response: {status: 404}
  typed_per_filter_config: *unasked
# The gate's own pages: the login and the way out.
- match: {path_separated_prefix: "<prefix>"}
  route: {cluster: oidcgate, timeout: 60s}
  typed_per_filter_config: *unasked
"""

DOWNSTREAM_TLS = """\
transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
    common_tls_context:
      alpn_protocols: [h2, http/1.1]
      tls_certificates:
        - certificate_chain: {filename: <certificate>}
          private_key: {filename: <key>}
"""

CLUSTER = """\
- name: <name>
  type: <kind>
  connect_timeout: 5s
  dns_lookup_family: V4_PREFERRED
  load_assignment:
    cluster_name: <name>
    endpoints: [{lb_endpoints: [{endpoint: {address: <address>}}]}]
  <tls>
"""

UPSTREAM_TLS = """\
transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
    sni: <server_name>
    <verified>
"""

# Without these Envoy takes any certificate.
VERIFIED = """\
auto_sni_san_validation: true
common_tls_context:
  validation_context:
    trusted_ca: {filename: <ca_file>}
"""


def render(plan: Plan) -> str:
    """A whole bootstrap file."""
    host, _, port = plan.listen.rpartition(":")
    return fill(
        TEMPLATE,
        site=plan.site,
        listen=_socket(host.strip("[]") or "0.0.0.0", int(port)),
        type="type.googleapis.com/envoy.extensions.filters",
        manager=fill(MANAGER, mutations=_mutations()),
        question=_question(plan),
        lua=lua(plan),
        domains=json.dumps(domains(plan)),
        own_routes=_own_routes(plan),
        removed=[] if "Authorization" in plan.identity_headers else ["request_headers_to_remove: [authorization]"],
        tls=_downstream_tls(plan),
        clusters=_clusters(plan),
    )


def _socket(host: str, port: int) -> str:
    return f"{{socket_address: {{address: {json.dumps(host)}, port_value: {port}}}}}"


def _mutations() -> list[str]:
    """What is deleted before anything else; Authorization goes to the gate first."""
    lines = [f"- remove_on_match: {{key_matcher: {{prefix: {prefix}}}}}" for prefix in (*PREFIXES, "x-envoy-")]
    lines.append('- remove_on_match: {key_matcher: {contains: "."}}')
    return [*lines, *(f"- remove: {name}" for name in sorted((IDENTITY | FORWARDING) - {"authorization"}))]


def _question(plan: Plan) -> str:
    return fill(
        QUESTION,
        asked=_patterns(ASKED, ASKED_PREFIXES),
        uri="http://oidcgate" if plan.gate.startswith("unix:") else plan.gate,
        prefix=plan.prefix,
        identity=_patterns([name.lower() for name in plan.identity_headers]),
        answered=_patterns(ANSWERED, ANSWERED_PREFIXES),
    )


def _patterns(names: Iterable[str], prefixes: Iterable[str] = ()) -> str:
    """Matchers on one line."""
    matchers = [*(f"{{exact: {name}}}" for name in names), *(f"{{prefix: {prefix}}}" for prefix in prefixes)]
    return f"{{patterns: [{', '.join(matchers)}]}}"


def lua(plan: Plan) -> str:
    """The program that runs once the gate has said yes."""
    return fill(
        LUA,
        cookies=_lua_list([f"{plan.cookie}*", *PRESETS[plan.ui].token_cookies]),
        claims=_lua_list(CLAIMS),
        identity=_lua_list(plan.identity_headers),
    )


def _lua_list(names: Iterable[str]) -> str:
    return ", ".join(json.dumps(name.lower()) for name in names)


def domains(plan: Plan) -> list[str]:
    """The Host values of this site, with and without its port; a ``*`` stands for any number of labels."""
    port = parse_origin(plan.site.replace("*.", "", 1)).port
    named = plan.host if ":" in plan.host.rpartition("]")[2] else f"{plan.host}:{port}"
    return list(dict.fromkeys([plan.host, named]))


def _own_routes(plan: Plan) -> str:
    if plan.shared_cookie and plan.site != plan.login:
        return f"# Sign-in is at {plan.login}{plan.prefix}/, whose cookie serves this host, too."
    return fill(OWN_ROUTES, prefix=plan.prefix)


def _downstream_tls(plan: Plan) -> str:
    if not plan.ends_tls:
        return ""
    certificate = json.dumps(plan.cert_file or "/etc/envoy/tls.crt")
    return fill(DOWNSTREAM_TLS, certificate=certificate, key=json.dumps(plan.key_file or "/etc/envoy/tls.key"))


def _clusters(plan: Plan) -> str:
    ui_tls = _upstream_tls(plan.upstream, plan.upstream_name, plan.upstream_ca_file, verify=plan.upstream_verify)
    return _cluster("oidcgate", plan.gate, _upstream_tls(plan.gate)) + _cluster("ui", plan.upstream, ui_tls)


def _cluster(name: str, url: str, tls: str) -> str:
    if url.startswith("unix:"):
        address, kind = f"{{pipe: {{path: {json.dumps(url.removeprefix('unix:'))}}}}}", "STATIC"
    else:
        origin = parse_origin(url)
        host = origin.host.strip("[]")
        address, kind = _socket(host, origin.port), "STATIC" if _is_address(host) else "STRICT_DNS"
    return fill(CLUSTER, name=name, kind=kind, address=address, tls=tls)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _upstream_tls(url: str, name: str | None = None, ca_file: str | None = None, *, verify: bool = True) -> str:
    """How a certificate is checked: by whom it is signed and what it names."""
    if not url.startswith("https:"):
        return ""
    verified = fill(VERIFIED, ca_file=json.dumps(ca_file or SYSTEM_CA)) if verify else ""
    return fill(UPSTREAM_TLS, server_name=json.dumps(name or parse_origin(url).host), verified=verified)
