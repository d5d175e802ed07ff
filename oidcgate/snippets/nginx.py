"""
nginx: a ``server`` that asks by ``auth_request``, with what it needs in ``http``.

Pure. Rules of this file:
- nginx compares cleaned paths and passes raw ones on, so what decides looks at the raw one, too.
- It sets headers one by one and cannot delete by prefix, so every name that matters is written down.
- It turns each answer but 2xx, 401 and 403 into 500, and loses every body: what a browser needs comes in headers.
"""

from oidcgate.config.addresses import parse_origin
from oidcgate.proxy.ui import PRESETS
from oidcgate.snippets.plan import HEADER_GROUPS, Plan
from oidcgate.snippets.text import fill

SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"
MOST_COOKIES = 4  # that are taken out one by one: the session's, the guard's, two logins'
COOKIE = (
    r'"~*^(?<cookies_before>(?:[^;]*;)*?[ \t]*)(?:NAME)[ \t]*(?:=[^;]*)?(?:;[ \t]*|$)(?<cookies_after>.*)$"'
    ' "$cookies_before$cookies_after";'
)
REST_OF_COOKIES = r"""
"~*(?:^|;)[ \t]*(?:NAME)[ \t]*(?:=|;|$)" "";
"~^(?<cookies_all>.*?)[; \t]*$" $cookies_all;
""".strip()

# Who somebody is, by names that the gate may not set itself here. A server behind may believe any of them.
CLAIMS = (
    "Impersonate-User",
    "Impersonate-Group",
    "Impersonate-Uid",
    "X-Remote-User",
    "X-Remote-Group",
    "X-Remote-Uid",
    "X-WebAuth-User",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Auth-Request-Access-Token",
    "X-Auth-Request-Redirect",
    "jweToken",
)
# Which way a request came, or what it asks for, by names that nginx does not write itself.
WAYS = (
    "Forwarded",
    "X-Forwarded-Method",
    "X-Forwarded-Uri",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "X-Original-URL",
    "X-Original-URI",
    "X-Original-Method",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Client-IP",
    "Client-IP",
    "True-Client-IP",
    "X-Cluster-Client-IP",
)

TEMPLATE = """\
# nginx 1.19 or newer, with http_auth_request_module, asking oidcgate who may use <site>
# For http{}, as files in /etc/nginx/conf.d/ are. With several such sites add once: variables_hash_max_size 2048;
#
# The gate must know this nginx: forward_auth: {peers: [its address]} there. Nobody else is given tokens.
# nginx carries websockets itself once the gate has said yes. It cannot end one at sign-out: a terminal that is open
# then lives on until the UI or the browser closes it.
# Access logs hold addresses with their queries: one-time codes below <prefix>/callback, ids of the UI's shells.

upstream oidcgate_<slug> {
    server <gate>;
    keepalive 32;
}

upstream ui_<slug> {
    server <ui>;
    keepalive 32;
}

# Only websockets are upgraded, and other requests keep the UI's connection open.
map $http_upgrade $upgrade_<slug> {
    default "";
    ~*^websocket$ websocket;
}
map $upgrade_<slug> $connection_<slug> {
    default "";
    websocket upgrade;
}

# The gate's cookies are no business of the UI's, nor are those that would win over the gate's token. Each map takes
# one out; a browser that has more of them (many logins begun at once) sends the UI no cookies for that long.
<cookie_maps>

# API servers take a token from here, too.
map $http_sec_websocket_protocol $protocols_<slug> {
    default $http_sec_websocket_protocol;
    "~base64url\\.bearer\\.authorization\\.k8s\\.io\\..*base64url\\.bearer\\.authorization\\.k8s\\.io\\." "";
    "~^[ ,]*base64url\\.bearer\\.authorization\\.k8s\\.io\\.[^,]*[ ,]*(?<protocols_after>.*)$" $protocols_after;
    "~^(?<protocols_before>.*?)[ ,]*base64url\\.bearer\\.authorization\\.k8s\\.io\\.[^,]*(?<protocols_after>.*)$" \
"$protocols_before$protocols_after";
}

server {
    <listen>
    server_name <server_name>;

    # Other spellings of the names below (X_Forwarded_User, X.Forwarded.User) are dropped. These two are the defaults;
    # where several servers share an address, those of the first one count.
    underscores_in_headers off;
    ignore_invalid_headers on;
    large_client_header_buffers 8 32k;

    # Streams through, however long.
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_request_buffering off;
    proxy_read_timeout 1h;
    proxy_send_timeout 1h;
    proxy_buffer_size 16k;
    proxy_buffers 8 16k;

    # A request line may name another host than Host does (RFC 9112, 3.2.2): then nobody knows which one is meant.
    set $oidcgate_hosts "$host|$http_host";
    if ($oidcgate_hosts !~* "^([^|]+)\\|\\1\\.?(?::[0-9]+)?$") {
        return 421;
    }

    # What two programs could read differently goes to neither.
    if ($request_uri !~ '^/(?:[!"$-.0-\\[\\]-~][!"$-\\[\\]-~]*)?$') {
        return 400;
    }

    location / {
        auth_request /_oidcgate;
        auth_request_set $oidcgate_status $upstream_status;
        auth_request_set $oidcgate_location $upstream_http_x_oidcgate_location;
        auth_request_set $oidcgate_body $upstream_http_x_oidcgate_body;
        <auth_request_set>
        error_page 401 403 = @oidcgate_refused;
        error_page 500 = @oidcgate_failed;

        proxy_pass <ui_scheme>://ui_<slug>;
        <ui_tls>
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $upgrade_<slug>;
        proxy_set_header Connection $connection_<slug>;
        proxy_set_header Sec-WebSocket-Protocol $protocols_<slug>;
        proxy_set_header Cookie $cookies_<slug>;

        # Who it is: the gate's word, or nothing. Each takes the place of what the client sent.
        <identity>

        # Nobody else's word counts. nginx cannot drop by prefix: Impersonate-Extra-* passes, which without
        # Impersonate-User means nothing.
        <claims>

        # Which way it came.
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Port $server_port;
        <ways>
    }

    # The question: no body, and an answer that may hold a token of 16 kB in several headers.
    location = /_oidcgate {
        internal;
        proxy_pass <gate_scheme>://oidcgate_<slug><prefix>/auth/nginx;
        <gate_tls>
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
        proxy_set_header X-Original-Method $request_method;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_buffer_size 64k;
        proxy_buffers 4 64k;
        proxy_busy_buffers_size 64k;
        proxy_connect_timeout 5s;
        proxy_read_timeout 30s;
    }

    # Pages are led to the login; scripts are told in the words that the UI's own code understands.
    location @oidcgate_refused {
        default_type <refusal_type>;
        add_header Cache-Control no-store always;
        if ($oidcgate_location) {
            return 302 $oidcgate_location;
        }
        if ($oidcgate_status = 401) {
            return 401 $oidcgate_body;
        }
        return 403;
    }

    # auth_request knows 500 only; the gate's own status says more.
    location @oidcgate_failed {
        default_type text/plain;
        if ($oidcgate_status = 400) {
            return 400;
        }
        if ($oidcgate_status ~ "^50[234]") {
            add_header Cache-Control no-store always;
            add_header Retry-After 3 always;
            add_header Refresh 3 always;
            return 503 "Who may pass cannot be found out just now. This page tries again by itself.\\n";
        }
        return 500;
    }
<own_paths>
}
"""

OWN_PATHS = """
    # The gate's own pages: the login and the way out.
    location ^~ <prefix>/ {
        # The raw path goes on, so it decides: below auth there are answers with tokens in them.
        if ($request_uri !~ '^<prefix>/(?!auth(?:[/?]|$))(?![^?]*\\.\\.)[A-Za-z0-9_/.-]*(?:\\?|$)') {
            return 404;
        }
        proxy_pass <gate_scheme>://oidcgate_<slug>;
        <gate_tls>
        proxy_set_header Host $http_host;
        proxy_set_header Connection "";
        proxy_set_header Forwarded "";
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
    }
    location = <prefix>/auth {
        return 404;
    }
    location ^~ <prefix>/auth/ {
        return 404;
    }"""


def render(plan: Plan) -> str:
    """For ``http{}``: two upstreams, some maps, one server."""
    gate, gate_scheme = _server(plan.gate)
    ui, ui_scheme = _server(plan.upstream)
    places = {"slug": plan.slug, "prefix": plan.prefix, "gate_scheme": gate_scheme}
    gate_tls = _verified(plan.gate) if gate_scheme == "https" else ()
    return fill(
        TEMPLATE,
        **places,
        site=plan.site,
        gate=gate,
        ui=ui,
        ui_scheme=ui_scheme,
        gate_tls=gate_tls,
        ui_tls=_ui_tls(plan) if ui_scheme == "https" else (),
        cookie_maps=_cookie_maps(plan),
        listen=_listen(plan),
        server_name=plan.host.partition(":")[0],
        refusal_type=PRESETS[plan.ui].unauthorized_type,
        auth_request_set=[f"auth_request_set {_variable(name)} {_answered(name)};" for name in plan.identity_headers],
        identity=[f"proxy_set_header {name} {_variable(name)};" for name in plan.identity_headers],
        claims=[f'proxy_set_header {name} "";' for name in claims(plan)],
        ways=[f'proxy_set_header {name} "";' for name in WAYS],
        own_paths=() if plan.shared_cookie else fill(OWN_PATHS, **places, gate_tls=gate_tls),
    )


def _server(origin: str) -> tuple[str, str]:
    """How an ``upstream`` names a server, and the scheme it is spoken to with."""
    if origin.startswith("unix:"):
        return origin, "http"
    parsed = parse_origin(origin)
    return f"{parsed.host}:{parsed.port}", parsed.scheme


def _verified(origin: str, name: str | None = None, ca_file: str | None = None) -> list[str]:
    """TLS towards a server whose certificate is checked; nginx does not check it by itself."""
    return [
        "proxy_ssl_server_name on;",
        f"proxy_ssl_name {name or parse_origin(origin).host};",
        "proxy_ssl_verify on;",
        f"proxy_ssl_trusted_certificate {ca_file or SYSTEM_CA};",
    ]


def _ui_tls(plan: Plan) -> list[str]:
    if not plan.upstream_verify:
        return ["proxy_ssl_verify off;  # whoever can answer in the UI's place gets the tokens"]
    return _verified(plan.upstream, plan.upstream_name, plan.upstream_ca_file)


def _listen(plan: Plan) -> list[str]:
    if not plan.ends_tls:
        return [f"listen {plan.listen};"]
    if plan.cert_file and plan.key_file:
        return [
            f"listen {plan.listen} ssl;",
            f"ssl_certificate {plan.cert_file};",
            f"ssl_certificate_key {plan.key_file};",
        ]
    return [
        f"listen {plan.listen} ssl;",
        "# Fill in, or print this again with --cert-file and --key-file:",
        "# ssl_certificate /etc/ssl/site.pem;",
        "# ssl_certificate_key /etc/ssl/site.key;",
    ]


def _variable(header: str) -> str:
    """Where the gate's word is kept."""
    return f"$oidcgate_{_low(header)}"


def _answered(header: str) -> str:
    return f"$upstream_http_{_low(header)}"


def _low(header: str) -> str:
    return header.lower().replace("-", "_")


def claims(plan: Plan) -> list[str]:
    """Names that nobody's word counts for: those above, and what the gate could set but does not here."""
    known = [name for group in HEADER_GROUPS.values() for name in group]
    return [name for name in (*known, *CLAIMS) if name not in plan.identity_headers]


def _cookie_maps(plan: Plan) -> list[str]:
    """A chain of maps, each of which takes one cookie out."""
    ours = f"(?:__Host-|__Secure-)?{plan.cookie}*"
    names = "|".join(name.replace("*", "[^;=]*") for name in (ours, *PRESETS[plan.ui].token_cookies))
    one = COOKIE.replace("NAME", names)
    lines = []
    source = "$http_cookie"
    for number in range(1, MOST_COOKIES + 1):
        target = f"$cookies{number}_{plan.slug}"
        lines += [f"map {source} {target} {{", f"    default {source};", f"    {one}", "}"]
        source = target
    rest = [f"    {line}" for line in REST_OF_COOKIES.replace("NAME", names).splitlines()]
    return [*lines, f"map {source} $cookies_{plan.slug} {{", *rest, "}"]
