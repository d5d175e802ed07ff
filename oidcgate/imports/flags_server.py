"""
Flags about addresses, upstreams, headers, rules by path and the log.

Pure: data.
"""

from oidcgate.imports.flag import Flag
from oidcgate.imports.report import Part

DIFFERS, NONE, SAFER, TAKEN = Part.DIFFERS, Part.NONE, Part.SAFER, Part.TAKEN

BASIC = "the UI gets the person's ID token as a bearer, never a shared password"
USER = "X-Auth-Request-User is the subject; Email and Preferred-Username say the rest"
PROBES = "probes are /livez and /readyz on admin.listen"
FORMAT = "lines are JSON with fixed fields (log.format: console for people)"
FILE = "the log goes to standard output; whoever runs the gate keeps and rotates it"
TLS = "TLS 1.2 and up with the ciphers that Python's ssl takes by default"
METRICS_TLS = "admin.listen is plain http for this machine or the cluster's own network"

SERVER = (
    Flag("config", "string", NONE, "give that file to `oidcgate import oauth2-proxy` too"),
    Flag("alpha-config", "string", NONE, "give that file to `oidcgate import oauth2-proxy` too"),
    Flag("config-test", "bool", NONE, "`oidcgate check --config FILE` does it"),
    Flag("convert-config-to-alpha", "bool", NONE, "a switch for one run only"),
    Flag("version", "bool", NONE, "a switch for one run only"),
    # addresses
    Flag("http-address", "string", None, "listen"),
    Flag("https-address", "string", None, "listen"),
    Flag("tls-cert-file", "string", None, "tls.cert_file"),
    Flag("tls-key-file", "string", None, "tls.key_file"),
    Flag("tls-min-version", "string", NONE, TLS, "TLS1.2"),
    Flag("tls-cipher-suite", "strings", NONE, TLS, key="tls_cipher_suites"),
    Flag("metrics-address", "string", None, "admin.listen"),
    Flag("metrics-secure-address", "string", NONE, METRICS_TLS),
    Flag("metrics-tls-cert-file", "string", NONE, METRICS_TLS),
    Flag("metrics-tls-key-file", "string", NONE, METRICS_TLS),
    Flag("redirect-url", "string", None, "sites[].url"),
    Flag("relative-redirect-url", "bool", NONE, "each site says its own address in sites[].url"),
    Flag("proxy-prefix", "string", None, "prefix", "/oauth2"),
    Flag("force-https", "bool", NONE, "the proxy before the gate redirects; cookies are for https anyway"),
    Flag("reverse-proxy", "bool", None, "trusted_proxies"),
    Flag("trusted-proxy-ip", "strings", None, "trusted_proxies", key="trusted_proxy_ips"),
    Flag("real-client-ip-header", "string", None, "trusted_proxies"),
    Flag(
        "trusted-ip", "strings", SAFER, "no address gets past signing in; make paths public instead", "", "trusted_ips"
    ),
    Flag("whitelist-domain", "strings", None, "forward_auth.return_hosts", key="whitelist_domains"),
    Flag("ping-path", "string", NONE, PROBES, "/ping"),
    Flag("ping-user-agent", "string", NONE, PROBES),
    Flag("ready-path", "string", NONE, PROBES, "/ready"),
    Flag("gcp-healthchecks", "bool", NONE, PROBES),
    # upstream
    Flag("upstream", "strings", None, "sites[].upstream.url", key="upstreams"),
    Flag("upstream-timeout", "duration", None, "sites[].upstream.header_timeout"),
    Flag("ssl-upstream-insecure-skip-verify", "bool", None, "sites[].upstream.insecure_skip_verify"),
    Flag("flush-interval", "duration", NONE, "every byte is passed on at once", "1s"),
    Flag("disable-keep-alives", "bool", NONE, "connections to the UI are kept"),
    Flag("pass-host-header", "bool", DIFFERS, "the UI gets its own name in Host, ours in X-Forwarded-Host", "true"),
    Flag("proxy-websockets", "bool", DIFFERS, "websockets always pass, each for a signed-in person", "true"),
    Flag("allow-query-semicolons", "bool", TAKEN, "always so: a query passes as it came"),
    # headers
    Flag("pass-authorization-header", "bool", None, "sites[].identity"),
    Flag("pass-access-token", "bool", None, "sites[].identity"),
    Flag("pass-user-headers", "bool", None, "sites[].identity"),
    Flag("pass-basic-auth", "bool", None, "sites[].identity"),
    Flag("set-xauthrequest", "bool", None, "forward_auth.headers"),
    Flag("set-authorization-header", "bool", None, "forward_auth.headers"),
    Flag("set-basic-auth", "bool", NONE, BASIC),
    Flag("basic-auth-password", "string", NONE, BASIC, secret=True),
    Flag("prefer-email-to-user", "bool", NONE, USER),
    Flag("skip-auth-strip-headers", "bool", SAFER, "identity headers of clients are always removed", "true"),
    Flag("signature-key", "string", NONE, "requests to the UI are not signed; use TLS to it", secret=True),
    # rules
    Flag("skip-auth-route", "strings", None, "sites[].access.rules", key="skip_auth_routes"),
    Flag("skip-auth-regex", "strings", None, "sites[].access.rules"),
    Flag("skip-auth-preflight", "bool", None, "sites[].access.rules"),
    Flag("api-route", "strings", NONE, "what is no page load gets 401 without a list", key="api_routes"),
    Flag("force-json-errors", "bool", NONE, "what is no page load gets JSON anyway"),
    Flag("skip-jwt-bearer-tokens", "bool", None, "sites[].programs.audiences"),
    Flag("extra-jwt-issuers", "strings", NONE, "programs bring tokens of the site's own issuer only"),
    Flag("bearer-token-login-fallback", "bool", DIFFERS, "a bad bearer gets 401, never a redirect", "true"),
    # log
    Flag("request-logging", "bool", None, "log.access"),
    Flag("request-logging-format", "string", NONE, FORMAT),
    Flag("auth-logging", "bool", NONE, "logins are always logged", "true"),
    Flag("auth-logging-format", "string", NONE, FORMAT),
    Flag("standard-logging", "bool", NONE, "log.level: error is the quietest", "true"),
    Flag("standard-logging-format", "string", NONE, FORMAT),
    Flag("errors-to-info-log", "bool", TAKEN, "always so: everything goes to standard output"),
    Flag(
        "exclude-logging-path", "strings", NONE, "access lines are on or off (log.access)", "", "exclude_logging_paths"
    ),
    Flag("silence-ping-logging", "bool", TAKEN, "always so: probes are no part of the access log"),
    Flag("request-id-header", "string", NONE, "the gate gives each request an id of its own", "X-Request-Id"),
    Flag("logging-filename", "string", NONE, FILE),
    Flag("logging-max-size", "int", NONE, FILE, "100"),
    Flag("logging-max-age", "int", NONE, FILE, "7"),
    Flag("logging-max-backups", "int", NONE, FILE),
    Flag("logging-compress", "bool", NONE, FILE),
    Flag("logging-local-time", "bool", NONE, "times are UTC", "true"),
)
