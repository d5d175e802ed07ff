"""
HAProxy: a configuration that asks the gate from a few lines of Lua.

Pure. Rules of this file:
- Two files in one text, each behind a line ``# ---- file: NAME``; the first lines say how to divide them.
- HAProxy keeps a request's head in one buffer together with the beginning of its body: what is added to it later needs
  room that is set aside (``tune.maxrewrite``).
- Its HTTP client resolves names by itself; the gate is best given as an address.
"""

from oidcgate.config.addresses import parse_origin
from oidcgate.proxy.headers import FORWARDING, IDENTITY, PREFIXES
from oidcgate.proxy.ui import PRESETS
from oidcgate.snippets.plan import Plan
from oidcgate.snippets.text import fill

TEMPLATE = """\
# ---- file: haproxy.cfg
# HAProxy 2.6 or newer with Lua, asking oidcgate who may use <site>
#
# Two files: this one and oidcgate.lua, which stands below. To divide them:
#   oidcgate snippet haproxy ... | awk '/^# ---- file: /{file = $4; next} {print > file}'
# Start HAProxy in their folder, or write the whole path at lua-load.
#
# The gate must know this HAProxy: forward_auth: {peers: [its address]} there. Nobody else is given tokens.
# HAProxy carries websockets itself once the gate has said yes. It cannot end one at sign-out: a terminal that is open
# then lives on until the UI or the browser closes it.

global
    lua-load oidcgate.lua
    # A token of 16 kB goes into several headers of a request whose body may fill the buffer already.
    tune.bufsize 131072
    tune.maxrewrite 65536

defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
    timeout http-request 15s
    timeout http-keep-alive 1m
    timeout queue 30s
    option http-keep-alive

frontend site_<slug>
    <bind>
    # What two programs could read differently goes to neither.
    http-request deny deny_status 400 if !{ pathq -m beg / } || { pathq -m beg // } || { pathq -m reg '[^!-~]' }
    http-request deny deny_status 400 if { pathq -m sub '#' } || { pathq -m sub '\\' }
    <own_rules>
    default_backend ui_<slug>

backend ui_<slug>
    http-request lua.oidcgate
    # Pages are led to the login; scripts are told in the words that the UI's own code understands.
    http-request redirect code 302 location %[var(txn.oidcgate_location)] if { var(txn.oidcgate_location) -m found }
    <refusal>
    http-request deny deny_status 403 if { var(txn.oidcgate_status) -m int 403 }
    <outage>
    server ui <ui>

<own_backend>
# ---- file: oidcgate.lua
-- Asks oidcgate about each request, and keeps from the UI what clients say of themselves.

local QUESTION = "<question>"
local GATE = <gate> -- where it listens, if that is not in the address
local SCHEME = "<scheme>"
local TIMEOUT = 30000 -- ms; now and then the gate waits for the issuer

-- The gate's word on who it is; each takes the place of what the client sent.
local IDENTITY = {
    <identity>
}
-- Names that nobody else may use, with runs of _ and . read as -, as a server behind may do.
local CLAIMS = {
    <claims>
}
local PREFIXES = {
    <prefixes>
}
-- Cookies (or their beginnings) that are no business of the UI's.
local COOKIES = {
    <cookies>
}
-- What belongs to one connection only, or to the question.
local OWN = {
    ["connection"] = true, ["upgrade"] = true, ["keep-alive"] = true, ["te"] = true, ["trailer"] = true,
    ["transfer-encoding"] = true, ["content-length"] = true, ["expect"] = true, ["proxy-connection"] = true,
    ["proxy-authorization"] = true, ["x-original-url"] = true, ["x-original-method"] = true,
}

local function begins(text, with)
    return text:sub(1, #with) == with
end

local function is_claim(name)
    local folded = name:lower():gsub("[_.-]+", "-")
    if CLAIMS[folded] then
        return true
    end
    for _, prefix in ipairs(PREFIXES) do
        if begins(folded, prefix) then
            return true
        end
    end
    return false
end

local function is_kept_back(name)
    local bare = name:lower():gsub("^__host%-", ""):gsub("^__secure%-", ""):gsub("%s+$", "")
    for _, known in ipairs(COOKIES) do
        if bare == known or (known:sub(-1) == "*" and begins(bare, known:sub(1, -2))) then
            return true
        end
    end
    return false
end

-- The parts of a list that are not refused, joined again; nil when none is left.
local function without(values, separator, pattern, refused)
    local kept = {}
    for index = 0, #values do
        for part in (values[index] or ""):gmatch(pattern) do
            if not refused(part) then
                kept[#kept + 1] = part
            end
        end
    end
    return #kept > 0 and table.concat(kept, separator) or nil
end

local function replace(http, name, value)
    http:req_del_header(name)
    if value then
        http:req_add_header(name, value)
    end
end

-- The client's headers as the gate should see them. What a client says of its way or its name stays behind, but for its
-- Authorization, which may be a program's own.
local function asked(headers, method, url)
    local sent = {}
    for name, values in pairs(headers) do
        if not OWN[name] and (name == "authorization" or not is_claim(name)) then
            local list = {}
            for index = 0, #values do
                list[#list + 1] = values[index]
            end
            sent[name] = list
        end
    end
    if headers["upgrade"] and not sent["sec-websocket-key"] then -- HTTP/2 has none; the gate knows handshakes by it
        sent["sec-websocket-key"] = { "none" }
    end
    sent["x-original-url"] = { url }
    sent["x-original-method"] = { method }
    return sent
end

local function strip(http, headers)
    for name in pairs(headers) do
        if is_claim(name) then
            http:req_del_header(name)
        end
    end
    if headers["cookie"] then
        replace(http, "cookie", without(headers["cookie"], "; ", "[^;%s][^;]*", function(part)
            return is_kept_back(part:match("^[^=]*"))
        end))
    end
    if headers["sec-websocket-protocol"] then -- API servers take a token from here, too
        local values = headers["sec-websocket-protocol"]
        replace(http, "sec-websocket-protocol", without(values, ", ", "[^,%s]+", function(part)
            return begins(part, "base64url.bearer.authorization.k8s.io.")
        end))
    end
end

core.register_action("oidcgate", { "http-req" }, function(txn)
    local headers = txn.http:req_get_headers()
    local host = headers["host"] and headers["host"][0]
    if not host or (headers["host"][1]) then
        txn:set_var("txn.oidcgate_status", 403)
        return
    end
    local url = SCHEME .. "://" .. host .. txn.sf:pathq()
    local ok, answer = pcall(function()
        local sent = asked(headers, txn.f:method(), url)
        return core.httpclient():get({ url = QUESTION, headers = sent, dst = GATE, timeout = TIMEOUT })
    end)
    local status = ok and answer and tonumber(answer.status) or 503
    txn:set_var("txn.oidcgate_status", status)
    local told = ok and answer and answer.headers or {}
    local function word(name)
        return told[name] and told[name][0]
    end
    if status == 401 then
        if word("x-oidcgate-location") then
            txn:set_var("txn.oidcgate_location", word("x-oidcgate-location"))
        end
        txn:set_var("txn.oidcgate_body", word("x-oidcgate-body") or "")
        txn:set_var("txn.oidcgate_challenge", word("www-authenticate") or "Bearer")
    elseif status == 200 then
        strip(txn.http, headers)
        for _, name in ipairs(IDENTITY) do
            replace(txn.http, name, word(name:lower()))
        end
        replace(txn.http, "X-Forwarded-For", txn.sf:src())
        replace(txn.http, "X-Forwarded-Proto", SCHEME)
        replace(txn.http, "X-Forwarded-Host", host)
    end
end)
"""

OWN_RULES = """\
# The gate's own pages: the login and the way out. Below auth there are answers with tokens in them.
http-request deny deny_status 404 if { path -m reg ^<prefix>/auth(/|$) }
use_backend oidcgate_<slug> if { path_beg <prefix>/ }
"""
OWN_BACKEND = """\
backend oidcgate_<slug>
    http-request del-header forwarded
    http-request del-header x-forwarded- -m beg
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto <scheme>
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    server gate <gate_server>

"""
REFUSAL = (
    "http-request return status 401 content-type <type> lf-string %[var(txn.oidcgate_body)]"
    " hdr Cache-Control no-store hdr WWW-Authenticate %[var(txn.oidcgate_challenge)]"
    " if { var(txn.oidcgate_status) -m int 401 }"
)
OUTAGE = (
    'http-request return status 503 content-type text/plain string "Who may pass cannot be found out just now."'
    " hdr Cache-Control no-store hdr Retry-After 3 hdr Refresh 3 unless { var(txn.oidcgate_status) -m int 200 }"
)


def render(plan: Plan) -> str:
    """Two files in one text."""
    places = {"slug": plan.slug, "prefix": plan.prefix, "scheme": "https" if plan.ends_tls else "http"}
    is_unix = plan.gate.startswith("unix:")
    path = plan.gate.removeprefix("unix:")
    return fill(
        TEMPLATE,
        **places,
        site=plan.site,
        bind=_bind(plan),
        own_rules=() if plan.shared_cookie else fill(OWN_RULES, **places),
        own_backend=() if plan.shared_cookie else fill(OWN_BACKEND, **places, gate_server=_server(plan.gate)),
        refusal=[fill(REFUSAL, type=PRESETS[plan.ui].unauthorized_type)],
        outage=[OUTAGE],
        ui=_server(plan.upstream, plan.upstream_name, plan.upstream_ca_file, verify=plan.upstream_verify),
        question=f"{'http://oidcgate' if is_unix else plan.gate}{plan.prefix}/auth/haproxy",
        gate=f'"unix@{path}"' if is_unix else "nil",
        identity=[f'"{name}",' for name in plan.identity_headers],
        claims=[f'["{name}"] = true,' for name in sorted(IDENTITY | FORWARDING)],
        prefixes=[f'"{prefix}",' for prefix in PREFIXES],
        cookies=[f'"{name.lower()}",' for name in (f"{plan.cookie}*", *PRESETS[plan.ui].token_cookies)],
    )


def _bind(plan: Plan) -> list[str]:
    if not plan.ends_tls:
        return [f"bind {plan.listen}"]
    return [
        "# One file with the certificate and its key, or the key beside it in FILE.key.",
        f"bind {plan.listen} ssl crt {plan.cert_file or '/etc/haproxy/site.pem'} alpn h2,http/1.1",
    ]


def _server(origin: str, name: str | None = None, ca_file: str | None = None, *, verify: bool = True) -> str:
    """A ``server`` line's address, and TLS with a certificate that is checked."""
    if origin.startswith("unix:"):
        return f"unix@{origin.removeprefix('unix:')}"
    parsed = parse_origin(origin)
    address = f"{parsed.host}:{parsed.port}"
    if parsed.scheme == "http":
        return address
    if not verify:
        return f"{address} ssl verify none"
    host = name or parsed.host
    return f"{address} ssl verify required ca-file {ca_file or '@system-ca'} sni str({host}) verifyhost {host}"
