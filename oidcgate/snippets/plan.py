"""
What every snippet is made from: one site of a configuration, and where things are.

Pure.
"""

import re
from dataclasses import dataclass

from oidcgate.config.addresses import Listen, parse_origin
from oidcgate.config.model import Config, Site
from oidcgate.errors import OidcgateError

PLACEHOLDER = "http://ui.example.svc:80"  # where nothing says where the UI is
NOT_A_WORD = re.compile(r"[^a-z0-9]+")


class NoSuchSite(OidcgateError):
    """The command line names a site that the configuration has not."""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    One site, seen from the proxy that carries its requests.

    Attributes:
        site: its origin as browsers use it, such as ``https://ui.example.com``; of a wildcard ``https://*.example.com``.
        host: its host (and port, if not the scheme's own); ``*.example.com`` for a wildcard.
        gate: origin at which the proxy reaches the gate, such as ``http://127.0.0.1:8080``.
        upstream: origin of the UI.
        listen: ``host:port`` at which the proxy listens.
        prefix: the gate's own paths on every host.
        login: origin of the host where logins end.
        shared_cookie: whether one cookie serves all hosts: then a host needs no route to the gate.
        headers: groups of header names that the gate's allowing answer carries; see ``forward_auth.headers``.
        ui: the UI's preset.
        cookie: how the names of the gate's own cookies begin, after a ``__Host-`` or ``__Secure-``.
        upstream_ca_file, upstream_name: what the UI's certificate is checked with, and the name it must hold.
        upstream_verify: whether it is checked at all.
        cert_file, key_file: for TLS, where the proxy ends it.
    """

    site: str
    host: str
    gate: str
    upstream: str
    listen: str
    prefix: str
    login: str
    shared_cookie: bool
    headers: tuple[str, ...]
    ui: str
    cookie: str = "oidcgate"
    upstream_ca_file: str | None = None
    upstream_name: str | None = None
    upstream_verify: bool = True
    cert_file: str | None = None
    key_file: str | None = None

    @property
    def slug(self) -> str:
        """The host as part of a name: ``ui_example_com``."""
        return NOT_A_WORD.sub("_", self.host.removeprefix("*.")).strip("_")

    @property
    def ends_tls(self) -> bool:
        """Whether browsers come by https."""
        return self.site.startswith("https:")

    @property
    def is_wildcard(self) -> bool:
        """Whether the site is every host below a domain."""
        return self.host.startswith("*.")

    @property
    def identity_headers(self) -> tuple[str, ...]:
        """Names of all headers that the gate sets on what it allows; the proxy replaces the client's by them."""
        return tuple(name for group in self.headers for name in HEADER_GROUPS[group])


HEADER_GROUPS = {
    "authorization": ("Authorization",),
    "x-auth-request": (
        "X-Auth-Request-User",
        "X-Auth-Request-Email",
        "X-Auth-Request-Groups",
        "X-Auth-Request-Preferred-Username",
    ),
    "x-forwarded": ("X-Forwarded-User", "X-Forwarded-Group", "X-Forwarded-Email", "X-Forwarded-Id-Token"),
}


def make_plan(
    config: Config,
    *,
    site: str | None = None,
    gate: str | None = None,
    upstream: str | None = None,
    listen: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
) -> Plan:
    """
    A plan for one site; what is not said is taken from the configuration.

    Raises:
        NoSuchSite: no site of the configuration has that address.
    """
    chosen = _chosen(config, site)
    origin = chosen.origin
    login = config.login_site or chosen
    host = ("*." if chosen.is_wildcard else "") + origin.authority
    return Plan(
        site=chosen.url,
        host=host,
        gate=gate or gate_address(config.listeners[0], tls=config.tls is not None),
        upstream=upstream or next(iter(chosen.upstream.urls), PLACEHOLDER),
        listen=listen or f"0.0.0.0:{origin.port}",
        prefix=config.prefix,
        login=str(login.origin),
        shared_cookie=config.session.cookie.domain is not None,
        headers=config.forward_auth.headers,
        ui=chosen.upstream.ui,
        cookie=config.session.cookie.name.removeprefix("__Host-").removeprefix("__Secure-"),
        upstream_ca_file=chosen.upstream.ca_file,
        upstream_name=chosen.upstream.server_name,
        upstream_verify=not chosen.upstream.insecure_skip_verify,
        cert_file=cert_file,
        key_file=key_file,
    )


def _chosen(config: Config, url: str | None) -> Site:
    """The named site, else the first that another proxy carries, else the first."""
    if url is None:
        carried = [site for site in config.sites if not site.upstream.urls]
        others = [site for site in carried if site != config.login_site]
        return next(iter([*others, *carried, *config.sites]))
    for site in config.sites:
        if site.url == url.removesuffix("/"):
            return site
    known = ", ".join(site.url for site in config.sites)
    raise NoSuchSite(f"{url} is no site of this configuration; it has {known}")


def gate_address(listen: Listen, *, tls: bool) -> str:
    """How a proxy on the same machine reaches a listener of the gate."""
    if listen.path:
        return f"unix:{listen.path}"
    host = "127.0.0.1" if listen.host in ("0.0.0.0", "::") else listen.host
    return str(parse_origin(f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{listen.port}"))
