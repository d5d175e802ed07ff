"""
Where browsers come, and the UI behind it, if there is one.

Pure. Without an upstream another proxy carries the requests and asks the gate: forward auth.
"""

from oidcgate.config.addresses import is_domain, parse_origin
from oidcgate.config.rules import is_below
from oidcgate.config.units import show_duration
from oidcgate.imports.units import parse_go_duration, url_parts
from oidcgate.imports.work import Work

PLACEHOLDER = "https://login.example.com"
PREFIX = "/oauth2"


def map_sites(work: Work) -> bool:
    """``prefix`` and ``sites``, but for who may pass; whether the gate only answers other proxies."""
    prefix = _prefix(work)
    _url(work, prefix)
    carried = _upstream(work, prefix)
    if carried:
        _identity_of_carried(work)
        _wildcard(work)
    else:
        _connection(work)
        _identity(work)
    return carried


def _prefix(work: Work) -> str:
    given = work.known("proxy-prefix")
    prefix = "/" + given.text.strip("/") if given is not None else PREFIX
    if prefix.lower() != prefix or not prefix[1:].replace("-", "").replace("_", "").isalnum() or not prefix.isascii():
        work.none("proxy-prefix", f"is one segment of a-z, 0-9, - and _; it stays {PREFIX}")
        return PREFIX
    if prefix != PREFIX:
        work.draft.put("prefix", prefix)
    work.taken("proxy-prefix")
    return prefix


def _url(work: Work, prefix: str) -> None:
    given = work.known("redirect-url")
    parts = url_parts(given.text) if given is not None else url_parts("")
    try:
        origin = parse_origin(f"{parts.scheme or 'https'}://{parts.netloc}")
    except ValueError:
        work.differs("redirect-url", "is no address of a host; set sites[].url by hand")
        work.draft.put(
            "sites.0.url", PLACEHOLDER, fill_in=f"what browsers use; {prefix}/callback below it is the redirect URL"
        )
        return
    url = str(origin)
    if origin.scheme == "http" and origin.host not in ("localhost", "127.0.0.1", "[::1]"):
        url = f"https://{origin.host}"
        work.draft.put(
            "sites.0.url", url, fill_in="browsers must come by https; register the new redirect URL at the issuer"
        )
        work.differs("redirect-url", f"sites[].url is {url}: plain http is for this machine only")
    else:
        work.draft.put("sites.0.url", url)
    if parts.path not in (f"{prefix}/callback", ""):
        work.draft.say("sites.0.url", fill_in=f"register {url}{prefix}/callback at the issuer")
        work.differs(
            "redirect-url", f"the path is always {prefix}/callback; register {url}{prefix}/callback at the issuer"
        )
    else:
        work.taken("redirect-url", f"sites[].url; the redirect URL is {url}{prefix}/callback")


def _upstream(work: Work, prefix: str) -> bool:
    """Whether there is none."""
    given = work.known("upstream")
    addresses = work.settings.values("upstream")
    carried = [text for text in addresses if text.startswith(("static:", "file:"))]
    real = [text for text in addresses if text not in carried]
    if any(text.startswith("static:") for text in carried):
        work.taken("upstream", f"none: another proxy carries the requests and asks {prefix}/auth, which answers 202")
    if any(text.startswith("file:") for text in carried):
        work.none("upstream", "the gate serves no files; let the proxy that asks do it, or put a web server there")
    if not real:
        if given is None and work.settings.get("upstream"):
            work.draft.put("sites.0.upstream.url", "http://ui.example.svc", fill_in="where the UI is")
            return False
        return True
    chosen = next((text for text in real if url_parts(text).path in ("", "/")), real[0])
    address, path = _address(chosen)
    if address is None:
        work.draft.put("sites.0.upstream.url", "http://ui.example.svc", fill_in="where the UI is")
        work.differs("upstream", "has no usable address; set sites[].upstream.url by hand")
        return False
    work.draft.put("sites.0.upstream.url", address)
    if path not in ("", "/"):
        work.differs("upstream", f"every path goes to {address}, not only {path}; a UI has a whole host")
    else:
        work.taken("upstream", f"sites[].upstream.url: {address}")
    for text in real:
        if text != chosen and _address(text)[0] != address:
            work.none(
                "upstream",
                f"the one for {url_parts(text).path or '/'}: a host has one UI; give it a host and a site of its own",
            )
        elif text != chosen:
            work.taken("upstream", f"the one for {url_parts(text).path}: the same address")
    return False


def _address(text: str) -> tuple[str | None, str]:
    """Origin and path of an upstream; the origin is None where ours could not be it."""
    parts = url_parts(text)
    if parts.scheme == "unix":
        return f"unix:{parts.path}", "/"
    try:
        return str(parse_origin(f"{parts.scheme}://{parts.netloc}")), parts.path
    except ValueError:
        return None, parts.path


def _connection(work: Work) -> None:
    address = str(work.draft.get("sites.0.upstream.url"))
    if work.settings.is_on("ssl-upstream-insecure-skip-verify") and address.startswith("https:"):
        work.draft.put(
            "sites.0.upstream.insecure_skip_verify",
            True,
            comment="better: ca_file, and server_name if the name differs",
        )
        work.taken(
            "ssl-upstream-insecure-skip-verify", "sites[].upstream.insecure_skip_verify; better is its CA in ca_file"
        )
    else:
        work.none("ssl-upstream-insecure-skip-verify", "the upstream is not https")
    given = work.known("upstream-timeout")
    seconds = parse_go_duration(given.text) if given is not None else None
    if seconds:
        work.draft.put("sites.0.upstream.header_timeout", show_duration(seconds))
        work.taken("upstream-timeout", "sites[].upstream.header_timeout: until the UI begins to answer")
    else:
        work.differs("upstream-timeout", "no duration; sites[].upstream.header_timeout stays at 30s")


def _identity(work: Work) -> None:
    """What the UI is told of the person."""
    on = work.settings.is_on
    if on("pass-authorization-header") or on("pass-access-token"):
        work.draft.put("sites.0.identity", "token")
    else:
        text = "oauth2-proxy passed no token to the UI; a cluster's UI needs `token`, so that RBAC knows the person"
        work.draft.put("sites.0.identity", "none", comment=text)
    work.taken("pass-authorization-header", "sites[].identity: the ID token as Authorization: Bearer")
    work.differs(
        "pass-access-token", "no X-Forwarded-Access-Token: the cluster takes the ID token, which goes as a bearer"
    )
    for name in ("pass-user-headers", "pass-basic-auth"):
        if on(name, default=True):
            work.differs(name, "the UI reads who somebody is from the ID token; no X-Forwarded-User, -Email or -Groups")
        else:
            work.taken(name, "never sent to the UI")
    if on("pass-user-headers", default=True) or on("pass-basic-auth", default=True):
        work.report_differs(
            "X-Forwarded-User, -Email and -Groups are not sent to the UI, which reads the ID token instead"
        )
    for name in ("set-xauthrequest", "set-authorization-header"):
        work.none(name, "replies to browsers carry no identity; other proxies get it by forward_auth")


CARRIED = (
    "the proxy that asks must send X-Original-URL and X-Original-Method; `oidcgate snippet` prints its part",
    "?allowed_groups= and the like in an auth-url hold at /oauth2/auth alone; with another dialect use sites[].access",
)


def _identity_of_carried(work: Work) -> None:
    for text in CARRIED:
        work.report_differs(text)
    for name in ("pass-authorization-header", "pass-access-token", "pass-user-headers", "pass-basic-auth"):
        work.none(name, "has no effect without an upstream; forward_auth.headers says what the asking proxy is told")
    for name in ("ssl-upstream-insecure-skip-verify", "upstream-timeout"):
        work.none(name, "has no effect without an upstream")
    headers = {"set-authorization-header": "authorization", "set-xauthrequest": "x-auth-request"}
    told = [header for name, header in headers.items() if work.settings.is_on(name)]
    work.draft.put("forward_auth.headers", told)
    for name, header in headers.items():
        work.taken(name, f"forward_auth.headers: {header}, for forward_auth.peers alone")


def _wildcard(work: Work) -> None:
    """Other hosts that the same cookie serves: a site without an upstream, whose requests another proxy carries."""
    host = parse_origin(work.draft.get("sites.0.url")).host
    domains = [text.lower().lstrip(".") for text in work.settings.values("cookie-domain")]
    fitting = sorted((name for name in domains if is_domain(name) and is_below(host, name)), key=len)
    if fitting and (work.settings.text("cookie-domain").startswith(".") or fitting[0] != host):
        work.draft.put(
            "sites.1.url",
            f"https://*.{fitting[0]}",
            comment="the hosts whose proxy asks the gate; better: each by name",
        )
    else:
        work.draft.say(
            "sites.0.url", fill_in="a site for each host whose proxy asks the gate: `- url: https://ui.example.com`"
        )
