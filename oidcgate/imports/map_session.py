"""
Cookie, lifetimes and store.

Pure. A password of Redis stays where it is: in a variable, or in a file that a person makes.
"""

import re
from urllib.parse import quote

from oidcgate.config.addresses import is_domain, parse_origin
from oidcgate.config.redis_address import parse_redis_url
from oidcgate.config.rules import is_below
from oidcgate.config.units import show_duration
from oidcgate.imports.settings import Given
from oidcgate.imports.units import parse_go_duration, url_parts
from oidcgate.imports.work import Work

NAME = re.compile(r"[A-Za-z0-9_-]+")
IDLE = 3600.0  # seconds; our default
REDIS_FLAGS = (
    *("redis-connection-url", "redis-username", "redis-password", "redis-use-sentinel", "redis-sentinel-password"),
    *("redis-sentinel-master-name", "redis-sentinel-connection-urls", "redis-use-cluster"),
    *("redis-cluster-connection-urls", "redis-ca-path"),
)
PASSWORD_FILE = "/run/secrets/redis-password"  # noqa: S105 - a path


def map_session(work: Work) -> None:
    """The ``session`` section."""
    _store(work)
    _lifetimes(work)
    _cookie_name(work)
    _cookie_domain(work)


def _lifetimes(work: Work) -> None:
    given = work.known("cookie-expire")
    seconds = parse_go_duration(given.text) if given is not None else None
    if seconds:
        work.draft.put("session.lifetime", show_duration(seconds))
        work.taken("cookie-expire", "session.lifetime; session.idle (1h) ends a session that nobody uses sooner")
        if seconds < IDLE:
            work.draft.put("session.idle", show_duration(seconds))
    else:
        work.differs("cookie-expire", "no duration that ends; session.lifetime stays at 12h")
    if given is None:
        work.report_safer(
            "sessions end after 12h, and after 1h without a request (oauth2-proxy: 168h); see session.lifetime"
        )
    work.differs(
        "cookie-refresh", "tokens are renewed shortly before they expire (session.refresh_ahead), not at intervals"
    )


def _cookie_name(work: Work) -> None:
    given = work.known("cookie-name")
    if given is None:
        return
    bare = given.text.removeprefix("__Host-").removeprefix("__Secure-")
    if given.is_silent:
        work.differs("cookie-name", "the cookie is __Host-oidcgate, so that both can run side by side")
    elif NAME.fullmatch(bare) and bare.strip("-_"):
        prefix = "__Secure-" if work.settings.get("cookie-domain") else "__Host-"
        work.draft.put("session.cookie.name", prefix + bare)
        work.differs(
            "cookie-name", f"session.cookie.name, with {prefix} before it, which keeps other hosts from setting it"
        )
    else:
        work.differs("cookie-name", "a name has letters, digits, - and _ only; ours stays __Host-oidcgate")


def _cookie_domain(work: Work) -> None:
    domains = [text.lower().lstrip(".") for text in work.settings.values("cookie-domain")]
    if not domains:
        work.known("cookie-domain")
        return
    host = parse_origin(work.draft.get("sites.0.url")).host
    fitting = sorted((name for name in domains if is_domain(name) and is_below(host, name)), key=len)
    if not fitting:
        work.none("cookie-domain", f"{host}, where logins end, is not below it; one cookie a host is kept instead")
        return
    if fitting[0] == host and not work.draft.get("sites.1"):
        work.differs("cookie-domain", "it is the site's own host: the cookie is for that host alone, which is safer")
        return
    work.draft.put("session.cookie.domain", fitting[0])
    if len(domains) > 1:
        work.differs(
            "cookie-domain", f"session.cookie.domain is one domain: {fitting[0]}; run a gate for each other one"
        )
    else:
        work.taken("cookie-domain")


def _store(work: Work) -> None:
    given = work.known("session-store-type")
    if given is not None and given.text == "redis":
        work.taken("session-store-type", "session.store; sessions themselves cannot be carried over")
        _redis(work)
        return
    work.differs(
        "session-store-type", "sqlite: sessions are kept on the server, so a volume or Redis is needed for replicas"
    )
    for name in REDIS_FLAGS:
        work.none(name, "has no effect without --session-store-type=redis")
    work.draft.put(
        "session.store", "sqlite", comment="oauth2-proxy keeps sessions in cookies; the gate needs a place for them"
    )


def _redis(work: Work) -> None:
    settings = work.settings
    url, waits = _redis_url(work)
    try:
        parse_redis_url(url)
    except ValueError:
        url, waits = "redis://localhost:6379", ["the address of Redis, which could not be read"]
    work.draft.put("session.store", url, fill_in=" and ".join(waits))
    work.draft.put(
        "session.keys_file",
        "./keys",
        fill_in="`oidcgate secret > keys` once, with mode 0600, the same file for every replica",
    )
    for name in REDIS_FLAGS:
        given = settings.get(name)
        if given is not None and "password" in name:
            work.differs(name, "not copied; session.store says where it is")
        else:
            work.taken(name, "part of session.store; a password is not copied")


def _redis_url(work: Work) -> tuple[str, list[str]]:
    """Our URL, and what a person must see to."""
    settings = work.settings
    sentinel, cluster = settings.is_on("redis-use-sentinel"), settings.is_on("redis-use-cluster")
    name = (
        "redis-cluster-connection-urls"
        if cluster
        else "redis-sentinel-connection-urls"
        if sentinel
        else "redis-connection-url"
    )
    parts = [url_parts(text if "://" in text else f"redis://{text}") for text in settings.values(name)]
    first = parts[0] if parts else url_parts("redis://localhost:6379")
    tls = first.scheme == "rediss" or bool(settings.get("redis-ca-path"))
    kind = "+cluster" if cluster else "+sentinel" if sentinel else ""
    user = settings.text("redis-username") or ("" if sentinel else first.username or "")
    options, waits = _passwords(work, user=bool(user), inline=first.password is not None and not sentinel)
    if settings.text("redis-ca-path"):
        options.append(f"ca_file={quote(settings.text('redis-ca-path'), safe='/')}")
    tail = f"?{'&'.join(options)}" if options else ""
    if first.scheme == "unix":
        return f"unix://{first.path}{tail}", waits
    if not parts:
        waits.append("the address of Redis")
    hosts = ",".join(part.netloc.rpartition("@")[2] for part in parts) or "localhost:6379"
    path = (
        f"/{quote(settings.text('redis-sentinel-master-name'), safe='')}" if sentinel else "" if cluster else first.path
    )
    at = f"{quote(user, safe='')}@" if user else ""
    return f"redis{'s' if tls else ''}{kind}://{at}{hosts}{path.rstrip('/')}{tail}", waits


def _passwords(work: Work, *, user: bool, inline: bool) -> tuple[list[str], list[str]]:
    options: list[str] = []
    waits: list[str] = []
    for flag, key in (("redis-password", "password"), ("redis-sentinel-password", "sentinel_password")):
        given: Given | None = work.settings.get(flag)
        if given is not None and given.variable:
            options.append(f"{key}_env={given.variable}")
        elif given is not None or (key == "password" and (inline or user)):
            options.append(
                f"{key}_file={PASSWORD_FILE}" if key == "password" else f"{key}_file={PASSWORD_FILE}-sentinel"
            )
            waits.append(f"put the {key.replace('_', ' ')} into that file, with mode 0600")
    return options, waits
