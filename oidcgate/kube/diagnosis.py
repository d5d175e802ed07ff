"""
What does not fit between somebody, the gate and an API server, and which setting to change.

Pure. The 401 has a module of its own, ``refusal``. A bearer that arrives never falls back to anonymous: whoever is
anonymous at the API server, their token did not arrive.
"""

from dataclasses import dataclass
from enum import Enum

from oidcgate.kube.reviews import Person
from oidcgate.oidc.claims import Claims


class Part(Enum):
    """What does not fit."""

    ISSUER = "issuer"
    AUDIENCE = "audience"
    USERNAME = "username claim"
    PREFIX = "prefix"
    CLOCK = "clock"
    CA = "CA"
    KEYS = "keys"
    ANONYMOUS = "anonymous"
    CREDENTIAL = "credential"
    ROLE = "role"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that does not fit, or may not.

    Attributes:
        certain: whether it was seen; else it is a candidate.
        sentence: what is, and what must be.
        setting: what to write, and ``where``; the API server's AuthenticationConfiguration unless told otherwise.
        flags: the same as flags of kube-apiserver; empty where there are none.
    """

    part: Part
    sentence: str
    setting: str = ""
    where: str = "AuthenticationConfiguration"
    flags: str = ""
    certain: bool = True


# It says that nobody is there.


def of_anonymous(api: str) -> Finding:
    """A request without a token is anonymous; one with a bad token never is."""
    return Finding(
        Part.ANONYMOUS,
        f"To {api} the request came without a token, although the gate sent one: something between them drops "
        "Authorization, such as a proxy, a load balancer or a redirect. Name the API server's own address.",
        "kubernetes:\n  api: https://kubernetes.default.svc\n",
        where="the gate's configuration, at this site",
        flags="--anonymous-auth=false",
    )


# 403 to the question who one is.


def of_missing_role(person: str) -> Finding:
    """Everybody may ask who they are, unless somebody took that away."""
    return Finding(
        Part.ROLE,
        f"The API server knows {person or 'you'}, but does not let it ask who it is: the ClusterRoleBinding "
        "system:basic-user is missing.",
        "kubectl create clusterrolebinding system:basic-user --clusterrole=system:basic-user "
        "--group=system:authenticated\n",
        where="the cluster",
    )


def of_credential(status: int, message: str) -> Finding:
    """The gate acts for people with a credential of its own, which is not taken, or may not do that."""
    if status == 401:
        return Finding(
            Part.CREDENTIAL,
            "The API server does not take the gate's own credential.",
            "kubernetes:\n  credential_file: …  # a token that the API server takes\n",
            where="the gate's configuration, at this site",
        )
    return Finding(
        Part.CREDENTIAL,
        f"The gate's own credential may not act for you: {message}",
        "kubectl create clusterrole oidcgate-impersonate --verb=impersonate --resource=users,groups\n"
        "kubectl create clusterrolebinding oidcgate-impersonate --clusterrole=oidcgate-impersonate "
        "--serviceaccount=NAMESPACE:NAME\n",
        where="the cluster",
    )


# No answer.


def of_unreachable(hop: str, message: str) -> Finding:
    """Where the way to the API server ends; see ``ClusterUnreachable.hop``."""
    if hop == "tls":
        return Finding(
            Part.CA,
            f"The gate does not trust the API server's certificate: {message}",
            "kubernetes:\n  ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt\n"
            "  server_name: kubernetes.default.svc  # when the address is none of the certificate's names\n",
            where="the gate's configuration, at this site",
        )
    return Finding(
        Part.NETWORK,
        f"The gate does not reach the API server: {message}",
        "kubernetes:\n  api: https://kubernetes.default.svc\n",
        where="the gate's configuration, at this site",
    )


def of_unexpected(status: int, message: str) -> Finding:
    """Neither yes nor no."""
    said = f": {message}" if message else ""
    return Finding(
        Part.NETWORK,
        f"The API server answered {status} to the question who you are{said}. Is it Kubernetes 1.28 or newer?",
        "kubernetes:\n  api: https://kubernetes.default.svc\n",
        where="the gate's configuration, at this site",
    )


# It knows somebody, by another name.


def of_names(claims: Claims, person: Person, *, username_prefix: str, groups_prefix: str) -> tuple[Finding, ...]:
    """What the gate's configuration says of prefixes, held against what the API server calls somebody."""
    found = []
    seen = username_prefix_of(claims, person)
    if seen is not None and seen != username_prefix:
        found.append(_prefix("username", seen, username_prefix, person.username))
    seen = groups_prefix_of(claims, person)
    if seen is not None and seen != groups_prefix:
        found.append(_prefix("groups", seen, groups_prefix, seen + claims.groups[0]))
    return tuple(found)


def _prefix(which: str, seen: str, ours: str, name: str) -> Finding:
    flag = f"--oidc-{which}-prefix={ours or '-'}"
    return Finding(
        Part.PREFIX,
        f"The API server puts {seen!r} before {which}, as in {name}; the gate's configuration says {ours!r}.",
        f"kubernetes:\n  {which}_prefix: {seen!r}\n",
        where="the gate's configuration, at this site",
        flags=flag,
    )


def username_prefix_of(claims: Claims, person: Person) -> str | None:
    """What stands before one of the token's names in the user name; None when none of them is in it."""
    names = (claims.email, claims.preferred_username, claims.name, claims.subject)
    ends = [len(name) for name in names if name and person.username.endswith(name)]
    return person.username[: -max(ends)] if ends else None


def groups_prefix_of(claims: Claims, person: Person) -> str | None:
    """What stands before each of the token's groups; None when there is none, or they are not all there."""
    if not claims.groups:
        return None
    first = claims.groups[0]
    for group in person.groups:
        prefix = group[: -len(first)] if first and group.endswith(first) else None
        if prefix is not None and {prefix + each for each in claims.groups} <= set(person.groups):
            return prefix
    return None
