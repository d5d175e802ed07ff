"""
The shape of the configuration: every key, its type and its default.

Pure. Field order is the order of ``config.example.yaml``; checks that need more than one key live in ``rules``.
"""

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, field_validator

from oidcgate.config.addresses import (
    Listen,
    Origin,
    checked_proxy,
    checked_url,
    is_domain,
    parse_listen,
    parse_origin,
    parse_wildcard,
)
from oidcgate.config.units import Duration, Size

Algorithm = Literal["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"]
Url = Annotated[str, AfterValidator(checked_url)]
ProxyUrl = Annotated[str, AfterValidator(checked_proxy)]
TEMPLATE_FIELDS = ("subject", "email", "name", "preferred_username", "groups", "token")
HeaderName = Annotated[
    str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$"), AfterValidator(lambda name: checked_header_name(name))
]
ExtraKey = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._/-]*$")]
GATES_OWN = re.compile(
    r"(?:authorization|host|cookie|connection|upgrade|te|trailer|expect|via|content-.*|transfer-.*|proxy-.*|impersonate-.*"
    r"|sec-.*)"
)
HeaderTemplate = Annotated[str, Field(pattern=r"^[ -~]*$"), AfterValidator(lambda text: checked_template(text))]
Port = Annotated[str, Field(description="host:port or unix:/path")]
A_PORT = {"type": "string", "description": "host:port or unix:/path"}
OneOrMore = WithJsonSchema({"anyOf": [A_PORT, {"type": "array", "items": A_PORT, "minItems": 1}]})


def canonical_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    """Networks and addresses, written one way."""
    return tuple(str(ipaddress.ip_network(text, strict=False)) for text in networks)


def checked_host_pattern(text: str) -> str:
    """
    A host with its port, or ``*.domain`` for every host below it.

    Raises:
        ValueError: with a sentence for the operator.
    """
    parse_origin(f"https://{text.removeprefix('*.')}")
    if "/" in text or text != text.lower():
        raise ValueError(f"{text!r} must be a lower-case host, or *.domain for every host below it")
    return text


def checked_upstream(url: str) -> str:
    """
    The same address, when a UI can be behind it.

    Raises:
        ValueError: with a sentence for the operator.
    """
    if not url.startswith("unix:/"):
        parse_origin(url)
        if url.removesuffix("/").count("/") > 2:
            raise ValueError(f"{url!r} has a path; the gate forwards paths as they come, so leave it out")
    return url


def checked_header_name(name: str) -> str:
    """
    The same name, when it is none that the gate writes itself.

    Raises:
        ValueError: with a sentence for the operator.
    """
    if GATES_OWN.fullmatch(name.lower()):
        raise ValueError(f"{name} is written by the gate itself")
    return name


def checked_template(text: str) -> str:
    """
    A header's value in which ``{email}`` and the like stand for claims.

    Raises:
        ValueError: with a sentence for the operator.
    """
    for name in re.findall(r"\{([^}]*)\}?", text):
        if name not in TEMPLATE_FIELDS:
            raise ValueError(f"{{{name}}} is not known; there are {', '.join(f'{{{n}}}' for n in TEMPLATE_FIELDS)}")
    return text


def checked_return_host(text: str) -> str:
    """
    A host, or ``.domain`` for every host below it.

    Raises:
        ValueError: with a sentence for the operator.
    """
    parse_origin(f"https://{text.removeprefix('.')}")
    if "/" in text or text != text.lower() or ":" in text:
        raise ValueError(f"{text!r} must be a lower-case host without a port, or .domain for every host below it")
    return text


class Section(BaseModel):
    """A frozen part of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(Section):
    """Certificate of the public listener."""

    cert_file: str
    key_file: str


class Admin(Section):
    """The listener for probes and metrics."""

    listen: Port = "127.0.0.1:8081"
    token_file: str | None = None

    @field_validator("listen")
    @classmethod
    def _listen(cls, text: str) -> str:
        return str(parse_listen(text))


class Provider(Section):
    """The OpenID provider: Dex."""

    issuer: Url
    client_id: str = Field(min_length=1)
    client_secret_file: str | None = None
    client_secret_env: str | None = None
    scopes: tuple[str, ...] = ("openid", "email", "profile", "groups", "offline_access")
    ca_file: str | None = None
    internal_url: Url | None = None
    leeway: Duration = Field(default=10.0, ge=0, le=300)
    max_token_life: Duration = Field(default=25 * 3600.0, gt=0)
    algorithms: tuple[Algorithm, ...] = Field(default=("RS256", "ES256"), min_length=1)
    audiences: tuple[str, ...] = ()
    endpoint_hosts: tuple[str, ...] = ()
    proxy: ProxyUrl | None = None
    insecure_internal_http: bool = False


class ProviderOverride(Section):
    """What one site does differently; everything else comes from ``provider``."""

    issuer: Url | None = None
    client_id: str | None = Field(default=None, min_length=1)
    client_secret_file: str | None = None
    client_secret_env: str | None = None
    scopes: tuple[str, ...] | None = None
    ca_file: str | None = None
    internal_url: Url | None = None
    audience: str | None = Field(default=None, pattern=r"^[!-~]+$")
    audiences: tuple[str, ...] | None = None


class Cookie(Section):
    """The one cookie a browser keeps."""

    name: str = "__Host-oidcgate"
    domain: str | None = None

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        bare = name.removeprefix("__Host-").removeprefix("__Secure-")
        if not bare or not bare.isascii() or not bare.replace("-", "").replace("_", "").isalnum():
            raise ValueError("a cookie name has letters, digits, - and _ only")
        return name

    @field_validator("domain")
    @classmethod
    def _domain(cls, domain: str | None) -> str | None:
        if domain is not None and not is_domain(domain):
            raise ValueError("must be a domain of several labels without a dot before it, such as k8s.example.com")
        return domain


class Session(Section):
    """How long people stay signed in, and where that is kept."""

    store: str = "sqlite"
    state_dir: str = "./.oidcgate"
    keys_file: str | None = None
    idle: Duration = Field(default=3600.0, gt=0)
    lifetime: Duration = Field(default=12 * 3600.0, gt=0)
    refresh_ahead: Duration = Field(default=120.0, ge=0)
    max_per_user: int = Field(default=20, ge=1)
    admins: tuple[str, ...] = ()
    cookie: Cookie = Cookie()


class Route(Section):
    """Paths that another service of the same UI serves; the first that matches decides."""

    path: str = Field(pattern=r"^/[!-~]*$", description="exact, or a prefix when it ends with *")
    url: str

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        return checked_upstream(url)


class Upstream(Section):
    """The UI behind a site."""

    url: str | tuple[str, ...] = ()
    ui: Literal["dashboard-2", "dashboard-7", "headlamp", "plain"] = "plain"
    ca_file: str | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False
    connect_timeout: Duration = Field(default=5.0, gt=0)
    header_timeout: Duration = Field(default=30.0, gt=0)
    idle_timeout: Duration = Field(default=3600.0, gt=0)
    resolve_every: Duration = Field(default=0.0, ge=0)
    routes: tuple[Route, ...] = ()
    headers: dict[HeaderName, HeaderTemplate] = Field(default={})

    @field_validator("url")
    @classmethod
    def _urls(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for url in (value,) if isinstance(value, str) else value:
            checked_upstream(url)
        return value

    @property
    def urls(self) -> tuple[str, ...]:
        """Every replica's address; none when another proxy carries the requests."""
        return (self.url,) if isinstance(self.url, str) else self.url


class Rule(Section):
    """One access rule: who may use a path; the first that matches decides."""

    path: str = Field(default="/*", pattern=r"^/[!-~]*$", description="exact, or a prefix when it ends with *")
    hosts: tuple[str, ...] = ()
    methods: tuple[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], ...] = ()
    groups: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    email_domains: tuple[str, ...] = ()
    public: bool = False

    @field_validator("hosts")
    @classmethod
    def _hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked_host_pattern(host) for host in hosts)

    @property
    def names_people(self) -> bool:
        """Whether the rule asks who somebody is."""
        return bool(self.groups or self.emails or self.email_domains)


class May(Section):
    """A permission in the cluster that a person must have to pass at all (SelfSubjectAccessReview)."""

    verb: str = Field(min_length=1)
    resource: str = Field(min_length=1, description="resource, or resource/subresource")
    group: str = ""
    namespace: str = ""
    name: str = ""


class Access(Section):
    """Who may pass; empty means everyone the provider lets in."""

    groups: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    email_domains: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    may: May | None = None


class Programs(Section):
    """Programs that bring a token of their own from the issuer; off while no audience is named."""

    audiences: tuple[str, ...] = ()


class Kubernetes(Section):
    """The API server behind the UI, for what the gate itself asks of it."""

    api: Url
    ca_file: str | None = None
    server_name: str | None = None
    credential_file: str | None = None
    username_prefix: str = ""
    groups_prefix: str = ""
    system_groups: tuple[str, ...] = ()
    extra: dict[ExtraKey, HeaderTemplate] = Field(default={})


class Kubectl(Section):
    """kubectl with the same account."""

    client_id: str | None = None
    redirect_port: int = Field(default=0, ge=0, le=65535)


class Site(Section):
    """One address that browsers use, and the UI behind it."""

    url: str
    upstream: Upstream = Upstream()
    identity: Literal["token", "impersonate", "none"] = "token"
    access: Access = Access()
    programs: Programs = Programs()
    badge: bool = True
    kubernetes: Kubernetes | None = None
    kubectl: Kubectl = Kubectl()
    provider: ProviderOverride = ProviderOverride()

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        if url.removesuffix("/").count("/") > 2:
            raise ValueError(f"{url!r} has a path; a site is a whole host (UIs below a path are not supported)")
        if "*" in url:
            parsed = parse_wildcard(url.removesuffix("/"))
            return f"{parsed.scheme}://*.{parsed.authority}"
        return str(parse_origin(url.removesuffix("/")))

    @property
    def is_wildcard(self) -> bool:
        """Whether the site is every host below a domain."""
        return "://*." in self.url

    @property
    def origin(self) -> Origin:
        """Scheme, host and port that browsers use; of a wildcard, its domain's."""
        return parse_wildcard(self.url) if self.is_wildcard else parse_origin(self.url)


class ForwardAuth(Section):
    """Answers to proxies that carry the requests themselves and ask who may pass."""

    peers: tuple[str, ...] = ()
    return_hosts: tuple[str, ...] = ()
    headers: tuple[Literal["authorization", "x-auth-request", "x-forwarded"], ...] = ("authorization", "x-auth-request")

    @field_validator("peers")
    @classmethod
    def _peers(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return canonical_networks(networks)

    @field_validator("return_hosts")
    @classmethod
    def _return_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked_return_host(host) for host in hosts)


class Limits(Section):
    """Bounds on what clients may take; of one process."""

    head: Size = Field(default=64 << 10, ge=4096)
    body: Size = 0
    connections: int = Field(default=4096, ge=1)
    per_address: int = Field(default=512, ge=1)
    header_timeout: Duration = Field(default=15.0, gt=0)
    body_idle: Duration = Field(default=30.0, gt=0)


class Log(Section):
    """What is written to standard output."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"
    access: bool = True


class Audit(Section):
    """One JSON event for each thing that somebody may ask about later."""

    file: str | None = None


class Look(Section):
    """Whose the gate's own pages are."""

    name: str = Field(default="oidcgate", min_length=1, max_length=40)
    logo_file: str | None = None
    colour: str = "#1d5fd1"

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not name.isprintable() or name != name.strip():
            raise ValueError("must be one line of text without spaces around it")
        return name

    @field_validator("colour", mode="before")
    @classmethod
    def _colour(cls, colour: object) -> object:
        if not isinstance(colour, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            raise ValueError('must be like "#1d5fd1", in quotes: without them YAML takes what follows # for a comment')
        return colour.lower()


class Config(Section):
    """The whole file."""

    listen: Annotated[tuple[Port, ...], OneOrMore] = Field(default=("127.0.0.1:8080",), min_length=1)
    tls: Tls | None = None
    workers: int | Literal["auto"] = 1
    admin: Admin | None = Admin()
    trusted_proxies: tuple[str, ...] = ()
    prefix: str = Field(default="/oauth2", pattern=r"^/[a-z0-9_-]+$")
    provider: Provider
    session: Session = Session()
    sites: tuple[Site, ...] = Field(min_length=1)
    forward_auth: ForwardAuth = ForwardAuth()
    limits: Limits = Limits()
    log: Log = Log()
    audit: Audit = Audit()
    look: Look = Look()

    @field_validator("listen", mode="before")
    @classmethod
    def _listen(cls, value: object) -> object:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            return texts  # of the wrong type: the next check says so
        return tuple(str(parse_listen(text)) for text in texts)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return canonical_networks(networks)

    @property
    def listeners(self) -> tuple[Listen, ...]:
        """The public listeners, parsed."""
        return tuple(parse_listen(text) for text in self.listen)

    @property
    def login_site(self) -> Site | None:
        """Where every login ends: the first site that has a host of its own."""
        return next((site for site in self.sites if not site.is_wildcard), None)
