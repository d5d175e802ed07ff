"""
Acting for a person with the gate's own credential (Kubernetes user impersonation).

Pure. Rules of this file:
- Whoever the claims name is named with the configured prefixes, one header a group: the API server takes no lists.
- Names that begin with ``system:`` belong to the cluster itself. A person of such a name is refused; a group is left
  out unless it is listed.
- A value that a header cannot carry as it is, is not sent: trimmed or folded it could be somebody else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from oidcgate.errors import UpstreamError
from oidcgate.oidc.idtoken import Claims

SYSTEM = "system:"


class NotImpersonated(UpstreamError):
    """Nobody of that name is impersonated."""

    status = 403
    public = "Your account has a name that may not be used in this cluster."


@dataclass(frozen=True, slots=True)
class Naming:
    """How people and groups are called in the cluster."""

    username_prefix: str = ""
    groups_prefix: str = ""
    system_groups: tuple[str, ...] = ()


def username(claims: Claims, naming: Naming) -> str:
    """
    Who somebody is in the cluster: the verified address, else the subject.

    Raises:
        NotImpersonated: the cluster's own name, or one that no header carries.
    """
    name = claims.email if claims.email is not None and claims.email_verified else claims.subject
    full = naming.username_prefix + name
    if full.startswith(SYSTEM) or not is_sendable(full):
        raise NotImpersonated(f"the name {full[:80]!r} is not impersonated")
    return full


def groups(claims: Claims, naming: Naming) -> tuple[str, ...]:
    """The person's groups in the cluster."""
    full = [naming.groups_prefix + group for group in claims.groups]
    return tuple(name for name in full if is_sendable(name) and _is_allowed(name, naming.system_groups))


def _is_allowed(group: str, listed: Sequence[str]) -> bool:
    return not group.startswith(SYSTEM) or group in listed


def is_sendable(text: str) -> bool:
    """Whether a header carries a text just so."""
    return bool(text) and text.isprintable() and text == text.strip()


def impersonation(claims: Claims, naming: Naming) -> list[tuple[str, str]]:
    """
    The headers beside the gate's credential.

    Raises:
        NotImpersonated: as ``username``.
    """
    return [
        ("Impersonate-User", username(claims, naming)),
        *(("Impersonate-Group", group) for group in groups(claims, naming)),
    ]
