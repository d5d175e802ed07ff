"""
What the provider says about itself: the discovery document, read with distrust.

Pure.

- The document must name the configured issuer exactly, byte for byte.
- Every endpoint is https, on the issuer's host or on a host the operator listed. Plain http is for an issuer
  that is itself http on a loopback name, and then for loopback endpoints only.
- An endpoint that breaks a rule spoils the whole document: a provider that is half trusted is not trusted.
- The gate's own calls may take another way (``internal_url``); what browsers and tokens see never does.

Sources: OIDC Discovery §3, §4; RFC 8414 §2; RFC 9207 §3; OIDC Back-Channel Logout §2.1; RFC 6749 §3.1.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

from oidcgate.errors import InvalidMetadata
from oidcgate.oidc.strictjson import loads_object

MAX_DOCUMENT = 256 * 1024  # bytes; Dex's document has 1.2 KB
_MAX_LISTED = 100
_URL = re.compile(r"https?://[^\x00-\x20\x7f-\U0010ffff\"<>\\^`{|}#]{1,2040}")


@dataclass(frozen=True, slots=True)
class Metadata:
    """The part of a discovery document that a relying party needs; URLs are as the document has them."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    revocation_endpoint: str | None = None
    device_authorization_endpoint: str | None = None  # RFC 8628 §4
    code_challenge_methods: tuple[str, ...] = ()
    iss_parameter_supported: bool = False
    backchannel_logout_supported: bool = False
    backchannel_logout_session_supported: bool = False
    auth_methods: tuple[str, ...] = ()  # empty: the document does not say
    id_token_algs: tuple[str, ...] = ()


def parse_metadata(body: bytes, *, issuer: str, endpoint_hosts: frozenset[str]) -> Metadata:
    """
    Read a discovery document.

    Args: ``body`` at most 256 KiB of JSON; ``issuer`` the configured one; ``endpoint_hosts`` lower-case
    names, without port, that may serve endpoints besides the issuer's own host.
    Raises: InvalidMetadata with what was expected and got.
    Not checked: what the host names resolve to, whether S256 is listed (PKCE is used regardless, never
    ``plain``), and whether the listed algorithms are ours: the allow-list is configuration.
    """
    try:
        document = loads_object(body, max_bytes=MAX_DOCUMENT)
    except ValueError as error:
        raise InvalidMetadata(f"discovery document: {error}") from error
    if document.get("issuer") != issuer:  # OIDC Discovery §4.3: "MUST exactly match"
        raise InvalidMetadata(f"issuer: expected {issuer!r}, got {str(document.get('issuer'))[:200]!r}")
    rules = _Rules(document, urlsplit(issuer), endpoint_hosts)
    return Metadata(
        issuer=issuer,
        authorization_endpoint=rules.required("authorization_endpoint"),
        token_endpoint=rules.required("token_endpoint"),
        jwks_uri=rules.required("jwks_uri"),
        userinfo_endpoint=rules.optional("userinfo_endpoint"),
        end_session_endpoint=rules.optional("end_session_endpoint"),
        revocation_endpoint=rules.optional("revocation_endpoint"),
        device_authorization_endpoint=rules.optional("device_authorization_endpoint"),
        code_challenge_methods=rules.listed("code_challenge_methods_supported"),
        iss_parameter_supported=rules.flag("authorization_response_iss_parameter_supported"),
        backchannel_logout_supported=rules.flag("backchannel_logout_supported"),
        backchannel_logout_session_supported=rules.flag("backchannel_logout_session_supported"),
        auth_methods=rules.listed("token_endpoint_auth_methods_supported"),
        id_token_algs=rules.listed("id_token_signing_alg_values_supported"),
    )


def discovery_url(issuer: str) -> str:
    """
    Where the discovery document of ``issuer`` lives (OIDC Discovery §4: a terminating slash is removed).
    """
    return issuer.removesuffix("/") + "/.well-known/openid-configuration"


def internal_address(url: str, *, issuer: str, internal_url: str | None) -> str:
    """
    The address at which the gate itself calls ``url``.

    ``internal_url`` gives scheme, host and port for what lives on the issuer's origin; path and query stay,
    and a path of ``internal_url`` is not used. Endpoints on other hosts are called as they are. For
    discovery, keys, token, userinfo and revocation calls only: never for an address that a browser is sent
    to.
    """
    there, home = urlsplit(url), urlsplit(issuer)
    if internal_url is None or (there.scheme, there.netloc.lower()) != (home.scheme, home.netloc.lower()):
        return url
    inside = urlsplit(internal_url)
    return urlunsplit((inside.scheme, inside.netloc, there.path, there.query, ""))


def with_query(endpoint: str, parameters: Mapping[str, str]) -> str:
    """
    Add ``parameters`` to an endpoint and keep the query that it has (RFC 6749 §3.1).

    Raises: InvalidMetadata when the endpoint's own query has one of the parameters already, since
    "request and response parameters MUST NOT be included more than once".
    """
    parts = urlsplit(endpoint)
    own = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if repeated := own & parameters.keys():
        raise InvalidMetadata(f"the endpoint's own query has {', '.join(sorted(repeated))}")
    query = urlencode(parameters, quote_via=quote, safe="")
    return urlunsplit(parts._replace(query=f"{parts.query}&{query}" if parts.query else query))


def is_loopback(host: str) -> bool:
    """Is this host name or address one that never leaves the machine (RFC 6761 §6.3)? No look-up is made."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class _Rules:
    """One document and what its members must obey."""

    document: Mapping[str, object]
    issuer: SplitResult
    hosts: frozenset[str]

    def required(self, name: str) -> str:
        url = self.optional(name)
        if url is None:
            raise InvalidMetadata(f"{name}: expected a URL, got none")
        return url

    def optional(self, name: str) -> str | None:
        value = self.document.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not _URL.fullmatch(value):
            raise InvalidMetadata(f"{name}: expected a URL without fragment, got {str(value)[:200]!r}")
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname or "", parts.port
        except ValueError as error:
            raise InvalidMetadata(f"{name}: {error}") from error
        if not host or "@" in parts.netloc:
            raise InvalidMetadata(f"{name}: expected a host and no user, got {value[:200]!r}")
        self._check_place(name, parts.scheme, host)
        return value

    def _check_place(self, name: str, scheme: str, host: str) -> None:
        home = self.issuer.hostname or ""
        if host != home and host not in self.hosts:
            raise InvalidMetadata(f"{name}: expected a host out of endpoint_hosts or {home!r}, got {host!r}")
        plain = self.issuer.scheme == "http" and is_loopback(home) and is_loopback(host)
        if scheme != "https" and not plain:
            raise InvalidMetadata(f"{name}: expected https, got {scheme}")

    def listed(self, name: str) -> tuple[str, ...]:
        value = self.document.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > _MAX_LISTED:
            raise InvalidMetadata(f"{name}: expected a list of at most {_MAX_LISTED} strings")
        if not all(isinstance(item, str) for item in value):
            raise InvalidMetadata(f"{name}: expected strings only")
        return tuple(value)

    def flag(self, name: str) -> bool:
        return self.document.get(name) is True
