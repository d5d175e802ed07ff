"""
Addresses in the configuration: URLs of sites, issuers and upstreams, and where to listen.

Pure. The rule behind all of them: what is compared byte for byte later is made canonical here, once.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
PORT = re.compile(r"[0-9]{1,5}")
DEFAULT_PORT = {"http": 80, "https": 443}


def is_host(name: str) -> bool:
    """Whether this is a lower-case host name, or an address without brackets."""
    if HOST.fullmatch(name):
        return True
    try:
        return not getattr(ipaddress.ip_address(name), "scope_id", None)
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine (RFC 6761 §6.3, RFC 8252 §8.3)."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, lower-case host and port of a URL; ``str()`` leaves out a default port (RFC 6454 §6.2)."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """``host`` or ``host:port``, as a browser writes it in Host."""
        return self.host if self.port == DEFAULT_PORT[self.scheme] else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def parse_origin(url: str) -> Origin:
    """
    The origin of an absolute http(s) URL without user, query or fragment.

    Raises:
        ValueError: with a sentence for the operator.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in DEFAULT_PORT:
        raise ValueError(f"{url!r} must begin with https:// (or http:// on this machine)")
    if parts.username is not None:
        raise ValueError("this address must not carry a user or a password")  # nor does this message
    if "?" in url or "#" in url:
        raise ValueError(f"{url!r} must not carry a query or a fragment")
    host = (parts.hostname or "").lower()
    if not is_host(host) or not url.isprintable():
        raise ValueError(f"{url!r} has no usable host name")
    if ":" in host:
        host = f"[{ipaddress.ip_address(host)}]"
    return Origin(parts.scheme, host, port if port is not None else DEFAULT_PORT[parts.scheme])


def is_domain(name: str) -> bool:
    """Whether this is a lower-case domain of several labels whose last begins with a letter, so no address."""
    labels = name.split(".")
    return bool(HOST.fullmatch(name)) and len(labels) > 1 and labels[-1][0].isalpha()


def parse_wildcard(url: str) -> Origin:
    """
    ``https://*.k8s.example.com``: the origin of the domain that every host is below.

    Raises:
        ValueError: with a sentence for the operator.
    """
    scheme, mark, rest = url.partition("://*.")
    if not mark or "*" in rest:
        raise ValueError(f"{url!r}: a * stands for the whole first label only, as in https://*.k8s.example.com")
    origin = parse_origin(f"{scheme}://{rest}")
    if not is_domain(origin.host):
        raise ValueError(f"{url!r} is too wide; name a domain of your own, as in https://*.k8s.example.com")
    return origin


def checked_url(url: str) -> str:
    """
    The same URL, when it is one that ``parse_origin`` takes.

    Raises:
        ValueError: with a sentence for the operator.
    """
    parse_origin(url)
    return url


def checked_proxy(url: str) -> str:
    """
    The same URL, when it is an outgoing proxy's, which may carry a user and a password.

    Raises:
        ValueError: with a sentence for the operator that quotes nothing.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in DEFAULT_PORT and is_host((parts.hostname or "").lower()) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be an http:// or https:// URL")
    return url


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen: ``path`` for a Unix socket, else host and port (0 = the system chooses)."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> Listen:
    """
    ``127.0.0.1:8080``, ``[::1]:8080``, ``:8080`` (every address) or ``unix:/run/oidcgate.sock``.

    Raises:
        ValueError: with a sentence for the operator.
    """
    if text.startswith("unix:"):
        if not text.startswith("unix:/"):
            raise ValueError(f"{text!r}: a Unix socket needs an absolute path, such as unix:/run/oidcgate.sock")
        return Listen(path=text[5:])
    host, colon, port = text.rpartition(":")
    name = (host[1:-1] if host.startswith("[") and host.endswith("]") else host) or "0.0.0.0"
    if not colon or not PORT.fullmatch(port) or int(port) > 65535 or not is_host(name.lower()):
        raise ValueError(f"{text!r} is not an address to listen on; write host:port or unix:/path")
    return Listen(host=name, port=int(port))
