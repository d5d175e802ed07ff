"""
Checks that need more than one key, or a look at a file.

Edge: looks at files when asked to. Each check yields problems; none stops at the first.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path

from oidcgate.config.addresses import is_loopback, parse_origin
from oidcgate.config.model import Config, Provider, Session, Site
from oidcgate.config.picture import UnusablePicture, read_picture
from oidcgate.config.redis_address import parse_redis_url
from oidcgate.config.secret import SecretFile, UnusableSecret, read_environment, read_private
from oidcgate.errors import Problem

AUDIENCE_SCOPE = "audience:server:client_id:"  # Dex's cross-client scope
EVERYBODY = ("0.0.0.0/0", "::/0")
REDIS = ("redis", "rediss", "unix")  # how the schemes of its URLs begin


def check_rules(config: Config, *, files: bool) -> list[Problem]:
    """Everything wrong with a configuration whose shape is right."""
    problems = [
        *_provider(config.provider, "provider"),
        *_processes(config),
        *_sites(config),
        *_session(config),
        *_forward_auth(config),
        *_audiences(config),
    ]
    for index, site in enumerate(config.sites):
        problems += _site(config, site, f"sites[{index}]")
    if files:
        problems += _files(config)
    return problems


def effective_provider(config: Config, site: Site) -> Provider:
    """The provider of one site: its own overrides over the general section; ``audience`` is no matter of the client."""
    own = {key: value for key, value in site.provider.model_dump(exclude={"audience"}).items() if value is not None}
    if "client_secret_file" in own or "client_secret_env" in own:
        own = {"client_secret_file": None, "client_secret_env": None, **own}
    if own.get("issuer", config.provider.issuer) != config.provider.issuer:
        own = {"internal_url": None, **own}  # the way to one issuer leads to no other
    return Provider.model_validate({**config.provider.model_dump(), **own})


def _provider(provider: Provider, path: str) -> Iterator[Problem]:
    issuer = parse_origin(provider.issuer)
    if issuer.scheme == "http" and not is_loopback(issuer.host):
        yield Problem(f"{path}.issuer", "http is for issuers on this machine only; use https")
    if provider.internal_url is not None:
        internal = parse_origin(provider.internal_url)
        if internal.scheme == "http" and not is_loopback(internal.host) and not provider.insecure_internal_http:
            yield Problem(
                f"{path}.internal_url",
                "sends the client secret and tokens in clear; use https, or set insecure_internal_http: true",
            )
    if "openid" not in provider.scopes:
        yield Problem(f"{path}.scopes", "openid is needed: without it the issuer gives no ID token")
    if provider.client_secret_file and provider.client_secret_env:
        yield Problem(f"{path}.client_secret_env", "give the secret once: by file or by environment")


def _processes(config: Config) -> Iterator[Problem]:
    if isinstance(config.workers, int) and config.workers < 1:
        yield Problem("workers", "must be 1 or more, or auto")
    if config.workers != 1 and config.session.store == "memory":
        yield Problem("workers", "several processes cannot share the memory store; use sqlite")
    networks = [text for text in config.trusted_proxies if text in EVERYBODY]
    if networks:
        yield Problem("trusted_proxies", f"{networks[0]} would let anybody claim any address")


def _session(config: Config) -> Iterator[Problem]:
    store, _, rest = config.session.store.partition(":")
    if store.startswith(REDIS):
        yield from _redis(config.session)
    elif store not in ("memory", "sqlite") or (rest and (store == "memory" or not rest.startswith("/"))):
        yield Problem("session.store", "must be memory, sqlite, sqlite:/path/to/file.db or a redis:// URL")
    if config.session.cookie.domain is not None:
        yield from _shared_cookie(config, config.session.cookie.domain)
    if config.session.idle > config.session.lifetime:
        yield Problem("session.idle", "longer than session.lifetime, so it could never end a session")


def _shared_cookie(config: Config, domain: str) -> Iterator[Problem]:
    """One cookie holds one session, so all of its sites must be reached by it and be content with its grant."""
    clients = {(own.issuer, own.client_id) for own in (effective_provider(config, site) for site in config.sites)}
    if len(clients) > 1:
        yield Problem(
            "session.cookie.domain",
            "one cookie holds one login, so every site needs the same issuer and client_id (audience may differ); "
            "leave it out to keep one cookie a host",
        )
    for index, site in enumerate(config.sites):
        if not is_below(site.origin.host, domain):
            yield Problem(f"sites[{index}].url", f"is not below session.cookie.domain ({domain})")


def _audiences(config: Config) -> Iterator[Problem]:
    """Dex adds the client itself to every audience: a site without one of its own would accept all others' tokens."""
    fenced = {
        (own.issuer, own.client_id)
        for site in config.sites
        if (own := effective_provider(config, site)) and site.provider.audience not in (None, own.client_id)
    }
    for index, site in enumerate(config.sites):
        own = effective_provider(config, site)
        sends = site.identity != "none" and (bool(site.upstream.urls) or site != config.login_site)
        if sends and site.provider.audience in (None, own.client_id) and (own.issuer, own.client_id) in fenced:
            yield Problem(
                f"sites[{index}].provider.audience",
                "is needed: other sites of this client have one, and their tokens would be good here too",
            )


def is_below(host: str, domain: str) -> bool:
    """Whether a host is a domain or below it; the dot is the boundary."""
    return host == domain or host.endswith(f".{domain}")


def _forward_auth(config: Config) -> Iterator[Problem]:
    open_to_all = [text for text in config.forward_auth.peers if text in EVERYBODY]
    if open_to_all:
        yield Problem("forward_auth.peers", f"{open_to_all[0]} would let anybody say what was asked for")
    if config.login_site is None:
        yield Problem("sites", "one site needs a host of its own, without *: logins end there")


def _redis(session: Session) -> Iterator[Problem]:
    try:
        address = parse_redis_url(session.store)
    except ValueError as error:
        yield Problem("session.store", str(error))
        return
    if address.login.password or address.sentinel_login.password:
        yield Problem("session.store", "a password does not belong here; use ?password_file= or ?password_env=")
    if session.keys_file is None:
        yield Problem("session.keys_file", "is needed with Redis: every replica must have the same keys")


def _sites(config: Config) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    hosts: dict[str, str] = {}
    for index, site in enumerate(config.sites):
        authority = ("*." if site.is_wildcard else "") + site.origin.authority
        if authority in seen:
            yield Problem(f"sites[{index}].url", f"the same host as sites[{seen[authority]}].url")
        seen.setdefault(authority, index)
        host = ("*." if site.is_wildcard else "") + site.origin.host
        if hosts.setdefault(host, authority) != authority:
            yield Problem(
                f"sites[{index}].url", "the same host as another site's: cookies ignore ports, so give it a name"
            )


def _site(config: Config, site: Site, path: str) -> Iterator[Problem]:
    origin = site.origin
    if origin.scheme == "http" and not is_loopback(origin.host):
        yield Problem(f"{path}.url", "http is for names of this machine only; browsers must come by https")
    effective = effective_provider(config, site)
    if site.provider != type(site.provider)():
        yield from _provider(effective, f"{path}.provider")
    if site.provider.audience is not None and any(scope.startswith(AUDIENCE_SCOPE) for scope in effective.scopes):
        yield Problem(
            f"{path}.provider.audience", f"asks for the token's audience itself; take {AUDIENCE_SCOPE}… out of scopes"
        )
    own_secret = site.provider.client_secret_file or site.provider.client_secret_env
    general_secret = config.provider.client_secret_file or config.provider.client_secret_env
    if general_secret and not own_secret:
        if effective.client_id != config.provider.client_id:
            yield Problem(f"{path}.provider.client_id", "another client needs its own client_secret_file")
        elif effective.issuer != config.provider.issuer:
            yield Problem(f"{path}.provider.issuer", "another issuer needs its own client_secret_file")
    upstream = site.upstream
    yield from _carried(config, site, path)
    yield from _cluster(site, path)
    secure = any(url.startswith("https:") for url in upstream.urls)
    if upstream.urls and not secure and (upstream.ca_file or upstream.server_name or upstream.insecure_skip_verify):
        yield Problem(f"{path}.upstream.url", "TLS settings are given but the address is not https")
    if upstream.insecure_skip_verify and upstream.ca_file:
        yield Problem(f"{path}.upstream.insecure_skip_verify", "ca_file verifies the UI already; remove this switch")


def _cluster(site: Site, path: str) -> Iterator[Problem]:
    """What needs to know the API server, or a credential for it."""
    kubernetes = site.kubernetes
    if kubernetes is not None:
        api = parse_origin(kubernetes.api)
        if api.scheme == "http" and not is_loopback(api.host):
            yield Problem(f"{path}.kubernetes.api", "sends tokens in clear; use https")
    if site.access.may is not None and kubernetes is None:
        yield Problem(f"{path}.access.may", "needs kubernetes.api: the API server is asked")
    if site.identity == "impersonate":
        if kubernetes is None or kubernetes.credential_file is None:
            yield Problem(f"{path}.identity", "impersonate needs kubernetes.credential_file: the gate's own credential")
        if not site.upstream.urls:
            yield Problem(
                f"{path}.identity", "impersonate needs an upstream: the gate's credential is told to no proxy"
            )


def _carried(config: Config, site: Site, path: str) -> Iterator[Problem]:
    """A site without an upstream makes sense where another proxy carries its requests, or where logins end."""
    if site.is_wildcard and site.upstream.urls:
        yield Problem(f"{path}.upstream.url", "a site with * has no upstream: the proxy that asks carries its requests")
    if site.upstream.urls or site.is_wildcard:
        return
    if not config.forward_auth.peers and not (site == config.login_site and len(config.sites) > 1):
        yield Problem(
            f"{path}.upstream",
            "this key is needed: where is the UI? (Leave it out only when forward_auth.peers names the proxies that "
            "carry this site's requests.)",
        )


def _files(config: Config) -> Iterator[Problem]:
    yield from _provider_files(config.provider, "provider")
    yield from _admin_files(config)
    if config.tls is not None:
        yield from _certificate(config.tls.cert_file, config.tls.key_file)
    if config.session.keys_file is not None:
        yield from _keys(config.session.keys_file, "session.keys_file")
    if config.look.logo_file is not None:
        yield from _picture(config.look.logo_file, "look.logo_file")
    if config.session.store.startswith(REDIS):
        yield from _redis_files(config.session.store)
    for index, site in enumerate(config.sites):
        yield from _authority(site.upstream.ca_file, f"sites[{index}].upstream.ca_file")
        yield from _cluster_files(site, f"sites[{index}].kubernetes")
        if site.provider != type(site.provider)():
            yield from _provider_files(effective_provider(config, site), f"sites[{index}].provider")


def _redis_files(url: str) -> Iterator[Problem]:
    try:
        address = parse_redis_url(url)
    except ValueError:
        return  # which is a problem already
    yield from _authority(address.ca_file or None, "session.store")
    for login in (address.login, address.sentinel_login):
        if login.password_file:
            yield from _secret(login.password_file, "session.store")
        if login.password_env:
            yield from _variable(login.password_env, "session.store")


def _cluster_files(site: Site, path: str) -> Iterator[Problem]:
    if site.kubernetes is not None:
        yield from _authority(site.kubernetes.ca_file, f"{path}.ca_file")
        if site.kubernetes.credential_file is not None:
            yield from _secret(site.kubernetes.credential_file, f"{path}.credential_file")


def _admin_files(config: Config) -> Iterator[Problem]:
    if config.admin is not None and config.admin.token_file is not None:
        yield from _secret(config.admin.token_file, "admin.token_file")


def _secret(file: str, path: str) -> Iterator[Problem]:
    try:
        SecretFile(Path(file)).read()
    except UnusableSecret as error:
        yield Problem(path, str(error))


def _variable(name: str, path: str) -> Iterator[Problem]:
    try:
        read_environment(name)
    except UnusableSecret as error:
        yield Problem(path, str(error))


def _provider_files(provider: Provider, path: str) -> Iterator[Problem]:
    yield from _authority(provider.ca_file, f"{path}.ca_file")
    if provider.client_secret_file is not None:
        yield from _secret(provider.client_secret_file, f"{path}.client_secret_file")
    if provider.client_secret_env is not None:
        yield from _variable(provider.client_secret_env, f"{path}.client_secret_env")


def _keys(file: str, path: str) -> Iterator[Problem]:
    try:
        if not read_private(Path(file)).strip():
            yield Problem(path, f"{file} is empty")
    except UnusableSecret as error:
        yield Problem(path, str(error))


def _picture(file: str, path: str) -> Iterator[Problem]:
    try:
        read_picture(file)
    except UnusablePicture as error:
        yield Problem(path, str(error))


def _authority(file: str | None, path: str) -> Iterator[Problem]:
    if file is None:
        return
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        yield Problem(path, f"{file} is no readable CA bundle: {error.strerror or error}")


def _certificate(cert_file: str, key_file: str) -> Iterator[Problem]:
    try:
        read_private(Path(key_file))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert_file, key_file, password=_no_passphrase)
    except UnusableSecret as error:
        yield Problem("tls.key_file", str(error))
    except (OSError, ssl.SSLError) as error:
        yield Problem("tls.cert_file", f"{cert_file} and {key_file} do not load: {error.strerror or error}")


def _no_passphrase() -> str:
    """Instead of OpenSSL's own question on the terminal, which a service cannot answer."""
    raise UnusableSecret("the key asks for a passphrase; give one without")
