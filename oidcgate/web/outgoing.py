"""
What goes to a UI about a person: further headers, and last of all the credential.

Edge: reads the gate's own credential where it acts for people. Made once a token, and sent as it is with every request.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from oidcgate.config.model import Kubernetes, Site
from oidcgate.config.secret import SecretFile, UnusableSecret
from oidcgate.errors import UpstreamError
from oidcgate.kube.impersonation import Naming, impersonation
from oidcgate.oidc.idtoken import Claims
from oidcgate.proxy.headers import canonical
from oidcgate.proxy.rewrite import bearer_line
from oidcgate.proxy.ui import Preset
from oidcgate.web.identity import groups_value, identity_lines, value_of

FIELD = re.compile(r"\{([a-z_]+)\}")
CREDENTIAL = re.compile(r"[!-~]+")
EXTRA = "Impersonate-Extra-"  # a key follows, percent-encoded; the API server reads it in lower case
AUTHORIZATION = b"Authorization: Bearer "


class CredentialUnusable(UpstreamError):
    """The gate's own credential for a cluster cannot be read."""

    status = 503
    public = "The gate has no usable credential for this cluster right now."


class Outgoing:
    """
    The lines for one site.

    Attributes:
        dropped: further names that clients may not send, in canonical form.
        may_change: whether the lines can change while the token does not.
    """

    def __init__(self, site: Site, preset: Preset) -> None:
        self._identity = site.identity
        self._headers = tuple(site.upstream.headers.items())
        self._groups = preset.identity_headers
        acting = site.kubernetes if site.identity == "impersonate" else None
        self._naming, self._credential = _acting(acting)
        self._extra = tuple((EXTRA + quote(key, safe=""), text) for key, text in acting.extra.items()) if acting else ()
        self.dropped = frozenset(canonical(name.encode()) for name in site.upstream.headers)
        self.may_change = self._credential is not None

    def lines(self, claims: Claims, bearer: bytes) -> bytes:
        """
        Header lines for a person whose token makes that Authorization line.

        Raises:
            CredentialUnusable: the gate's own credential cannot be read.
            NotImpersonated: nobody acts for a person of that name.
        """
        own = bearer if self._identity == "token" else b""  # a UI takes that token in place of the credential
        told = identity_lines(claims, own, self._groups, budget=None) if self._groups else b""
        return b"".join([*_filled(self._headers, claims, bearer), told, self.authority(claims, bearer)])

    def authority(self, claims: Claims, bearer: bytes) -> bytes:
        """
        As whom a request for a person acts in the cluster, and nothing else.

        Raises:
            CredentialUnusable, NotImpersonated: as ``lines``.
        """
        if self._credential is None:
            return bearer if self._identity == "token" else b""
        try:
            credential = self._credential.read()
        except UnusableSecret as error:
            raise CredentialUnusable(f"kubernetes.credential_file: {error}") from error
        if not CREDENTIAL.fullmatch(credential):
            raise CredentialUnusable("kubernetes.credential_file: does not hold one token on one line")
        named = impersonation(claims, self._naming)
        lines = [f"{name}: {value}\r\n".encode() for name, value in named]
        return b"".join([*lines, *_filled(self._extra, claims, bearer), bearer_line(credential)])


def _filled(templates: Iterable[tuple[str, str]], claims: Claims, bearer: bytes) -> list[bytes]:
    """Configured headers; one that names a claim which is empty, or none that a header carries, is left out."""
    values = {
        "subject": value_of(claims.subject),
        "email": value_of(claims.email if claims.email_verified else None),
        "name": value_of(claims.name),
        "preferred_username": value_of(claims.preferred_username),
        "groups": groups_value(claims.groups),
        "token": bearer.removeprefix(AUTHORIZATION).strip(),
    }
    whole = [(name, text) for name, text in templates if all(values[field] for field in FIELD.findall(text))]
    filled = ((name, FIELD.sub(lambda m: values[m[1]].decode(), text)) for name, text in whole)
    return [f"{name}: {value}\r\n".encode() for name, value in filled if value.strip()]


def _acting(kubernetes: Kubernetes | None) -> tuple[Naming, SecretFile | None]:
    if kubernetes is None or kubernetes.credential_file is None:
        return Naming(), None
    naming = Naming(kubernetes.username_prefix, kubernetes.groups_prefix, kubernetes.system_groups)
    return naming, SecretFile(Path(kubernetes.credential_file))
