"""
Flags about cookies, where sessions live, and what oauth2-proxy's own pages look like.

Pure: data.
"""

from oidcgate.imports.flag import Flag
from oidcgate.imports.report import Part

DIFFERS, NONE, SAFER, TAKEN = Part.DIFFERS, Part.NONE, Part.SAFER, Part.TAKEN

KEYS = "sessions are sealed with keys of our own: made in session.state_dir, or `oidcgate secret` > keys_file"
ATTEMPTS = "each login under way has a cookie of its own, 20 a browser, SameSite=Lax"
PAGES = "the gate's own pages cannot be changed yet"

SESSION = (
    Flag("cookie-name", "string", None, "session.cookie.name", "_oauth2_proxy"),
    Flag("cookie-secret", "string", NONE, KEYS, secret=True),
    Flag("cookie-secret-file", "string", NONE, KEYS),
    Flag("cookie-domain", "strings", None, "session.cookie.domain", key="cookie_domains"),
    Flag("cookie-path", "string", NONE, "a site is a whole host, so the cookie's path is /", "/"),
    Flag("cookie-expire", "duration", None, "session.lifetime"),
    Flag("cookie-refresh", "duration", None, "session.refresh_ahead"),
    Flag("cookie-secure", "bool", SAFER, "always set, but for http on this machine", "true"),
    Flag("cookie-httponly", "bool", SAFER, "always set", "true"),
    Flag("cookie-samesite", "string", DIFFERS, "always Lax: a login comes back from another site", "lax"),
    Flag("cookie-csrf-expire", "duration", NONE, ATTEMPTS, "15m0s"),
    Flag("cookie-csrf-per-request", "bool", TAKEN, f"always so: {ATTEMPTS}"),
    Flag("cookie-csrf-per-request-limit", "int", DIFFERS, ATTEMPTS),
    Flag("cookie-csrf-samesite", "string", NONE, ATTEMPTS, "lax"),
    Flag("session-store-type", "string", None, "session.store"),
    Flag("session-cookie-minimal", "bool", TAKEN, "always so: the cookie holds a handle, tokens stay on the server"),
    Flag("redis-connection-url", "string", None, "session.store", secret=True),
    Flag("redis-username", "string", None, "session.store"),
    Flag("redis-password", "string", None, "session.store", secret=True),
    Flag("redis-use-sentinel", "bool", None, "session.store"),
    Flag("redis-sentinel-password", "string", None, "session.store", secret=True),
    Flag("redis-sentinel-master-name", "string", None, "session.store"),
    Flag("redis-sentinel-connection-urls", "strings", None, "session.store", secret=True),
    Flag("redis-use-cluster", "bool", None, "session.store"),
    Flag("redis-cluster-connection-urls", "strings", None, "session.store", secret=True),
    Flag("redis-ca-path", "string", None, "session.store"),
    Flag("redis-insecure-skip-tls-verify", "bool", SAFER, "Redis is verified; give its CA by ?ca_file="),
    Flag("redis-connection-idle-timeout", "int", NONE, "connections are checked before they are used again"),
    # pages
    Flag("skip-provider-button", "bool", TAKEN, "always so: nobody clicks a button on the way to the provider"),
    Flag("banner", "string", NONE, PAGES),
    Flag("footer", "string", NONE, PAGES),
    Flag("custom-sign-in-logo", "string", NONE, PAGES),
    Flag("custom-templates-dir", "string", NONE, PAGES),
    Flag("show-debug-on-error", "bool", SAFER, "pages show a request id; the log has the cause"),
    Flag("encode-state", "bool", NONE, "state is opaque and URL-safe as it is"),
)
