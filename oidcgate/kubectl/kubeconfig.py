"""
A kubeconfig for one site, ready to be used.

Pure: what is in the files is given.

- It holds no secret: no client secret, no token. What signs people in is the plugin that it names.
- A cluster that has an audience of its own gets tokens for that audience, so that one cluster's token opens no other.

Sources: kubeconfig v1 (k8s.io/client-go tools/clientcmd/api/v1); client.authentication.k8s.io/v1.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from oidcgate.config.addresses import checked_url
from oidcgate.config.model import Config, Provider, Site
from oidcgate.config.rules import effective_provider
from oidcgate.errors import ConfigError, Problem
from oidcgate.kubectl.account import AUDIENCE_SCOPE, DEFAULT_ALGORITHMS, DEFAULT_SCOPES, DEFAULT_TOKEN_LIFE
from oidcgate.kubectl.exec_credential import API_VERSION

COMMAND = "oidcgate"
INSTALL = "pipx install oidcgate"
HINT = f"This cluster signs you in with oidcgate. Install it: {INSTALL}"


@dataclass(frozen=True, slots=True)
class Setup:
    """
    One site, seen from kubectl.

    Attributes:
        name: of the cluster and the context.
        server: the API server's address.
        ca_file, issuer_ca_file: files whose contents `render` is to be given; None = the system's authorities.
        server_name: the name that the API server's certificate holds, when it is not the host in ``server``.
        arguments: the plugin's, without the issuer's authority.
        command: the plugin.
    """

    name: str
    server: str
    ca_file: str | None
    issuer_ca_file: str | None
    server_name: str | None
    arguments: tuple[str, ...]
    command: str = COMMAND


def choose_site(config: Config, url: str | None) -> int:
    """
    The index of the site that is meant: the named one, else the only one with kubectl, else the only one.

    Raises:
        ConfigError: there is no such site, or several could be meant.
    """
    if url is not None:
        found = [index for index, site in enumerate(config.sites) if site.url == url.removesuffix("/")]
        if not found:
            raise ConfigError([Problem("--site", f"{url} is no site of this configuration; it has {_names(config)}")])
        return found[0]
    able = [index for index, site in enumerate(config.sites) if site.kubectl.client_id is not None]
    if len(able) > 1:
        sites = ", ".join(config.sites[index].url for index in able)
        raise ConfigError([Problem("--site", f"which one is meant? There are {sites}")])
    if not able and len(config.sites) > 1:
        raise ConfigError([Problem("sites[].kubectl.client_id", "no site names the public client that kubectl uses")])
    return able[0] if able else 0


def make_setup(
    config: Config,
    index: int,
    *,
    server: str | None = None,
    name: str | None = None,
    command: str = COMMAND,
) -> Setup:
    """
    What kubectl needs to know of a site; ``server`` and ``name`` replace what the configuration says.

    Raises:
        ConfigError: keys are missing, each with its path, or an option is wrong.
    """
    site = config.sites[index]
    kubernetes, client_id = site.kubernetes, site.kubectl.client_id
    problems = list(_missing(site, f"sites[{index}]", server))
    if server is not None:
        try:
            checked_url(server)
        except ValueError as error:
            problems.append(Problem("--server", str(error)))
    if problems or client_id is None:
        raise ConfigError(problems)
    provider = effective_provider(config, site)
    own = kubernetes is not None and server in (None, kubernetes.api)
    return Setup(
        name=name or site.url.partition("://")[2].removeprefix("*."),
        server=server or (kubernetes.api if kubernetes is not None else ""),
        ca_file=kubernetes.ca_file if kubernetes is not None else None,
        issuer_ca_file=provider.ca_file,
        server_name=kubernetes.server_name if kubernetes is not None and own else None,
        arguments=tuple(_arguments(provider, site, client_id)),
        command=command,
    )


def render(setup: Setup, *, ca: bytes | None, issuer_ca: bytes | None) -> str:
    """The YAML; ``ca`` and ``issuer_ca`` are what is in the two files."""
    user = f"oidcgate@{setup.name}"
    cluster: dict[str, Any] = {"server": setup.server}
    if ca is not None:
        cluster["certificate-authority-data"] = _base64(ca)
    if setup.server_name is not None:
        cluster["tls-server-name"] = setup.server_name
    believed = [] if issuer_ca is None else ["--ca-data", _base64(issuer_ca)]
    plugin = {
        "apiVersion": API_VERSION,
        "command": setup.command,
        "args": ["credential", "get", *setup.arguments, *believed],
        "installHint": HINT,
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": False,
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": setup.name, "cluster": cluster}],
        "users": [{"name": user, "user": {"exec": plugin}}],
        "contexts": [{"name": setup.name, "context": {"cluster": setup.name, "user": user}}],
        "current-context": setup.name,
    }
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10_000)
    return text


def _missing(site: Site, path: str, server: str | None) -> Iterator[Problem]:
    if site.kubectl.client_id is None:
        yield Problem(f"{path}.kubectl.client_id", "is not set; it names the public client that kubectl uses")
    if site.kubernetes is None and server is None:
        yield Problem(f"{path}.kubernetes.api", "is not set; it is the API server's address (or give --server URL)")


def _arguments(provider: Provider, site: Site, client_id: str) -> Iterator[str]:
    """The plugin's arguments; what it does by itself is left out."""
    yield from ("--issuer", provider.issuer, "--client-id", client_id)
    if site.provider.audience not in (None, client_id):
        yield from ("--audience", str(site.provider.audience))
    scopes = tuple(scope for scope in provider.scopes if not scope.startswith(AUDIENCE_SCOPE))
    if set(scopes) != set(DEFAULT_SCOPES):
        for scope in scopes:
            yield from ("--scope", scope)
    if site.kubectl.redirect_port:
        yield from ("--redirect-port", str(site.kubectl.redirect_port))
    for host in provider.endpoint_hosts:
        yield from ("--endpoint-host", host)
    if set(provider.algorithms) != set(DEFAULT_ALGORITHMS):
        for algorithm in provider.algorithms:
            yield from ("--algorithm", algorithm)
    if provider.max_token_life != DEFAULT_TOKEN_LIFE:
        yield from ("--max-token-life", f"{provider.max_token_life:.0f}")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _names(config: Config) -> str:
    return ", ".join(site.url for site in config.sites)
