"""
Where Redis or Valkey is: one URL for a single server, a set of sentinels or a cluster.

Pure. Secrets belong into a file or the environment (``?password_file=``, ``?password_env=``); what stands in the URL
shows in no ``repr`` and in no message, which is why no message here quotes the URL.

    redis://[user[:password]@]host[:port][/db]          rediss:// = with TLS
    redis+sentinel://host[:port],host…/service[/db]     rediss+sentinel://
    redis+cluster://host[:port],host…                   rediss+cluster://
    unix:///path/to/socket[?db=1]
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, unquote

from oidcgate.config.addresses import PORT, is_host

Kind = Literal["single", "sentinel", "cluster", "unix"]

PARTS = re.compile(r"(?P<scheme>[a-z+]+)://(?P<authority>[^/?]*)(?P<path>[^?]*)(?:\?(?P<query>.*))?", re.DOTALL)
BRACKETED = re.compile(r"\[([^\]]*)\](?:(:)(.*))?", re.DOTALL)
SCHEMES: dict[str, tuple[Kind, bool]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
    "unix": ("unix", False),
}
DEFAULT_PORT: dict[Kind, int] = {"single": 6379, "sentinel": 26379, "cluster": 6379, "unix": 0}
PASSWORD_KEYS = ("password_file", "password_env")
TLS_KEYS = ("ca_file", "cert_file", "key_file")
ENCODE = "a / ? # or @ in a user or password must be percent-encoded"
SENTINEL_KEYS = ("sentinel_username", "sentinel_password", "sentinel_password_file", "sentinel_password_env")


@dataclass(frozen=True, slots=True)
class Login:
    """A name and where its password is; all empty = none is needed."""

    username: str = ""
    password: str = field(default="", repr=False)
    password_file: str = ""
    password_env: str = ""

    def __bool__(self) -> bool:
        return bool(self.password or self.password_file or self.password_env)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """What a URL says; ``str()`` is a URL again, without anything secret."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()  # of the server, the sentinels or the first nodes of a cluster
    path: str = ""  # of a Unix socket
    service: str = ""  # the sentinels' name for the master
    db: int = 0
    tls: bool = False
    ca_file: str = ""  # empty = the system's
    cert_file: str = ""  # our own, where the server asks for one
    key_file: str = ""
    login: Login = Login()
    sentinel_login: Login = Login()

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix://{quote(self.path)}?db={self.db}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        scheme = next(name for name, meaning in SCHEMES.items() if meaning == (self.kind, self.tls))
        tail = {"single": f"/{self.db}", "sentinel": f"/{quote(self.service, safe='')}/{self.db}", "cluster": ""}[
            self.kind
        ]
        return f"{scheme}://{hosts}{tail}"


def parse_redis_url(url: str) -> RedisAddress:
    """
    The address in a URL. Doesn't look whether its files and variables exist.

    Raises:
        ValueError: with a sentence for the operator that holds no part of the URL which may be secret.
    """
    parts = PARTS.fullmatch(url)
    if parts is None or parts["scheme"] not in SCHEMES:
        raise ValueError(f"must begin with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    if "#" in url:
        raise ValueError("must not carry a fragment; a # in a password is written %23")
    kind, tls = SCHEMES[parts["scheme"]]
    userinfo, at, authority = parts["authority"].rpartition("@")
    options = _options(parts["query"] or "", _known(kind, tls))
    if bool(options.get("cert_file")) != bool(options.get("key_file")):
        raise ValueError("cert_file and key_file go together")
    username, _, password = userinfo.partition(":")
    service, db = _path(kind, parts["path"], options)
    return RedisAddress(
        kind=kind,
        hosts=_hosts(kind, authority),
        path=_decoded(parts["path"]) if kind == "unix" else "",
        service=service,
        db=db,
        tls=tls,
        login=_login(_decoded(username), _decoded(password), options, "", required=bool(at)),
        sentinel_login=_login(
            options.get("sentinel_username", ""), options.get("sentinel_password", ""), options, "sentinel_"
        ),
        **{key: options.get(key, "") for key in TLS_KEYS},
    )


def _known(kind: Kind, tls: bool) -> tuple[str, ...]:
    return (
        *PASSWORD_KEYS,
        *(TLS_KEYS if tls else ()),
        *(SENTINEL_KEYS if kind == "sentinel" else ()),
        *(("db",) if kind == "unix" else ()),
    )


def _options(query: str, known: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _pairs(query):
        if name not in known:
            raise ValueError(_unknown(name, known))
        if name in found:
            raise ValueError(f"{name} is given twice")
        if not value:
            raise ValueError(f"{name} is empty")
        found[name] = value
    return found


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        yield name, _decoded(value)  # unlike in a form, a plus is a plus: it may be in a password


def _unknown(name: str, known: tuple[str, ...]) -> str:
    if name in TLS_KEYS:
        return f"{name} needs TLS: write rediss in place of redis"
    if name in SENTINEL_KEYS:
        return f"{name} is for redis+sentinel:// only"
    # a name that looks like none of ours may be the rest of a password with a ? in it
    near = difflib.get_close_matches(name, known, n=1)
    return f"unknown option; did you mean {near[0]}?" if near else f"unknown option; there are {', '.join(known)}"


def _login(username: str, password: str, options: dict[str, str], prefix: str, *, required: bool = False) -> Login:
    file = options.get(f"{prefix}password_file", "")
    variable = options.get(f"{prefix}password_env", "")
    given = sum(map(bool, (password, file, variable)))
    if given > 1:
        raise ValueError(f"give the {prefix}password once: in the URL, by {prefix}password_file or by environment")
    if not given and (required or username):
        raise ValueError(f"a user without a password; name a {prefix}password_file or {prefix}password_env")
    return Login(username, password, file, variable)


def _hosts(kind: Kind, authority: str) -> tuple[tuple[str, int], ...]:
    if kind == "unix":
        if authority:
            raise ValueError("a Unix socket needs an absolute path, such as unix:///run/redis/redis.sock")
        return ()
    hosts = tuple(_host(text, DEFAULT_PORT[kind]) for text in authority.split(","))
    if kind == "single" and len(hosts) > 1:
        raise ValueError("several hosts need redis+sentinel:// or redis+cluster://")
    return hosts


def _host(text: str, default: int) -> tuple[str, int]:
    bracketed = BRACKETED.fullmatch(text)
    host, colon, port = bracketed.groups() if bracketed else text.partition(":")
    host = host.lower()
    if not is_host(host) or (":" in host) != bool(bracketed):
        raise ValueError(f"has no usable host name; {ENCODE}")
    if not colon:
        return host, default
    if not PORT.fullmatch(port) or not 0 < int(port) < 65536:
        raise ValueError("a port must be a number from 1 to 65535")
    return host, int(port)


def _path(kind: Kind, path: str, options: dict[str, str]) -> tuple[str, int]:
    """The service and the database."""
    if kind == "unix":
        if len(path) < 2:
            raise ValueError("a Unix socket needs an absolute path, such as unix:///run/redis/redis.sock")
        return "", _db(options.get("db", ""))
    if "@" in path:
        raise ValueError(ENCODE)
    service, _, db = path[1:].partition("/") if kind == "sentinel" else ("", "", path[1:])
    if kind == "sentinel" and not service:
        raise ValueError("name the service that the sentinels watch: redis+sentinel://host1,host2/service")
    if kind == "cluster" and db not in ("", "0"):
        raise ValueError("a cluster has only database 0")
    return _decoded(service), _db(db)


def _db(text: str) -> int:
    if text and not re.fullmatch(r"[0-9]{1,5}", text):
        raise ValueError("the database must be a number")
    return int(text or 0)


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("a percent-encoded part is not UTF-8") from None
