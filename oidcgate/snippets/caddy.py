"""
Caddy: a Caddyfile with ``forward_auth``.

Pure. Rules of this file:
- What a client says of itself is deleted before the question, so that only the gate's words reach the UI.
- Everything stands in ``route``, where directives keep their order.
"""

import re
from urllib.parse import urlsplit

from oidcgate.config.addresses import DEFAULT_PORT
from oidcgate.proxy.headers import FORWARDING, IDENTITY, PREFIXES
from oidcgate.proxy.ui import PRESETS
from oidcgate.snippets.plan import Plan
from oidcgate.snippets.text import fill

TEMPLATE = """\
# Caddy (2.11 or newer), asking oidcgate who may use <site>
#
# The gate must know this Caddy: forward_auth: {peers: [its address]} there. Nobody else is given tokens.
# Caddy carries websockets itself once the gate has said yes. It cannot end one at sign-out: a terminal that is open
# then lives on until the UI or the browser closes it.
# Set no trusted_proxies for it: the gate would believe what their clients say of host and scheme.
<global_options>

(oidcgate) {
	# What two programs could read differently goes to neither.
	@malformed not vars_regexp {http.request.orig_uri} `^/(?:[!"$-.0-\\[\\]-~][!"$-\\[\\]-~]*)?$`
	respond @malformed 400

	# Nominated in Connection, what the gate sets would be taken away again.
	@nominates header_regexp Connection (?i)(authorization|cookie|host|origin|referer|sec-|x-)
	respond @nominates 400

	# Who it is and which way it came: nobody else's word counts, in no spelling that a server may read as these names.
	request_header "-*_*"
	request_header "-*.*"
	<claims>

	# API servers take a token from here, too.
	request_header Sec-WebSocket-Protocol `(^|,)\\s*base64url\\.bearer\\.authorization\\.k8s\\.io\\.[^,]*` ""
	request_header Sec-WebSocket-Protocol `^,\\s*` ""

	forward_auth <gate> {
		# With the question mark: else Caddy appends the client's query.
		uri <prefix>/auth/caddy?
		header_up Host {hostport}
		# Each takes the place of what the client sent, and is deleted where the gate sends nothing.
		copy_headers <identity>
	}
	<no_authorization>
}

<wildcard>
<address> {
	<listener>
	route {
		<own_paths>
		import oidcgate

		# The gate's cookies are no business of the UI's, nor are those that would win over the gate's token.
		request_header Cookie `(?i)(^|;)\\s*(?:<cookies>)\\s*=[^;]*` ""
		request_header Cookie `^;\\s*` ""
		@no_cookie header_regexp Cookie ^$
		request_header @no_cookie -Cookie

		reverse_proxy <ui> {
			header_up Host {hostport}
			# Logs and events leave as they come.
			flush_interval -1
			transport http {
				compression off
				<ui_tls>
			}
		}
	}
}
"""

NO_REDIRECTS = """
{
	# Nobody comes to port 80 for a site on a port of its own.
	auto_https disable_redirects
}
"""

OWN_PATHS = """\
# Asked by a client, the gate would hand the person's token to scripts. Caddy compares cleaned paths and passes raw ones
# on: where the two differ there is nothing, either.
@question path {prefix}/auth*
respond @question 404
@unclean {{
	path {prefix} {prefix}/*
	not vars_regexp {{http.request.orig_uri}} `^{prefix}(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*/?(?:\\?|$)`
}}
respond @unclean 404

# The gate's own pages: the login and the way out.
@gate path {prefix} {prefix}/*
reverse_proxy @gate {gate} {{
	header_up Host {{hostport}}
}}

"""

WILDCARD = """\
# A * is one label here, as in a certificate's name; to get a certificate for it, Caddy needs a DNS challenge.
# UIs with upstreams of their own are further sites like this one, each with `import oidcgate` before `reverse_proxy`.
"""


def render(plan: Plan) -> str:
    """A whole Caddyfile: a part that every UI can import, and one site."""
    return fill(
        TEMPLATE,
        site=plan.site,
        global_options=NO_REDIRECTS if plan.ends_tls and _port(plan) != DEFAULT_PORT["https"] else [],
        claims=[f"request_header -{name.title()}" for name in _claims()],
        gate=_dial(plan.gate),
        prefix=plan.prefix,
        identity=" ".join(plan.identity_headers),
        no_authorization=[] if "Authorization" in plan.identity_headers else ["request_header -Authorization"],
        wildcard=WILDCARD if plan.is_wildcard else [],
        address=_address(plan),
        listener=_listener(plan),
        own_paths=_own_paths(plan),
        cookies="|".join(_cookies(plan)),
        ui=_dial(plan.upstream),
        ui_tls=_ui_tls(plan),
    )


def _claims() -> list[str]:
    """Names, and beginnings of names, that only the gate or Caddy may set; Authorization goes to the gate first."""
    return [*(f"{prefix}*" for prefix in PREFIXES), *sorted((IDENTITY | FORWARDING) - {"authorization"})]


def _cookies(plan: Plan) -> list[str]:
    """Patterns of the names of cookies that stay here."""
    names = (re.escape(name).replace(r"\*", "[^=;]*") for name in PRESETS[plan.ui].token_cookies)
    return [rf"(?:__Host-|__Secure-)?{re.escape(plan.cookie)}[^=;]*", *names]


def _dial(url: str) -> str:
    """An upstream's address as Caddy writes it."""
    return f"unix/{url.removeprefix('unix:')}" if url.startswith("unix:") else url


def _address(plan: Plan) -> str:
    """The site's scheme and host with the port to listen on."""
    parts = urlsplit(plan.site)
    port = _port(plan)
    host = plan.host if ":" not in plan.host else plan.host.rpartition(":")[0]
    return f"{parts.scheme}://{host}" + ("" if port == DEFAULT_PORT[parts.scheme] else f":{port}")


def _port(plan: Plan) -> int:
    return int(plan.listen.rpartition(":")[2])


def _listener(plan: Plan) -> list[str]:
    """Where to listen, and with which certificate; without one Caddy gets its own."""
    host = plan.listen.rpartition(":")[0].strip("[]")
    lines = [] if host in ("", "0.0.0.0", "::") else [f"bind {host}"]
    if plan.ends_tls and plan.cert_file and plan.key_file:
        lines.append(f"tls {plan.cert_file} {plan.key_file}")
    return lines


def _own_paths(plan: Plan) -> str:
    """The gate's pages on the UI's host, less the question, whose answer holds the token."""
    if plan.shared_cookie and plan.site != plan.login:
        return f"# Sign-in is at {plan.login}{plan.prefix}/, whose cookie serves this host, too.\n"
    return OWN_PATHS.format(prefix=plan.prefix, gate=_dial(plan.gate))


def _ui_tls(plan: Plan) -> list[str]:
    """How the UI's certificate is checked, where that is not the usual way."""
    if not plan.upstream.startswith("https:"):
        return []
    lines = [f"tls_trust_pool file {plan.upstream_ca_file}"] if plan.upstream_ca_file else []
    lines += [f"tls_server_name {plan.upstream_name}"] if plan.upstream_name else []
    return lines if plan.upstream_verify else [*lines, "tls_insecure_skip_verify"]
