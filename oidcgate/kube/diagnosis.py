"""
Why an API server does not take somebody for who they are, and which setting to change.

Pure. An API server says no more than "Unauthorized" to a token that it does not take, and never falls back to
anonymous for it. What can be told apart all the same:
- its clock, by the Date of its answer;
- the rest by a TokenReview, where the gate has a credential that may ask for one; its ``error`` names the check;
- else there are candidates, in the order in which they are met in life, each with what the token really says.

Sources: Kubernetes, Authenticating (OpenID Connect tokens; AuthenticationConfiguration, apiserver.config.k8s.io/v1).
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import yaml

from oidcgate.kube.reviews import Person
from oidcgate.oidc.claims import Claims

MOST_SKEW: Final = 5.0  # seconds between two clocks that may be the network's
EMAIL_SUGGESTED: Final = "email"


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


# 401: the token arrived and was not taken.


def of_refusal(claims: Claims, *, skew: float | None, said: str | None) -> tuple[Finding, ...]:
    """
    What is wrong with a token that got 401.

    Args:
        skew: seconds that the API server's clock is ahead of the gate's; None = not known.
        said: the error of a TokenReview; None = nobody could ask.
    """
    late = _clock(skew)
    if said is not None:
        return (_named(claims, said, late),)
    if late is not None:
        return (late,)
    return tuple(_candidate(finding) for finding in _candidates(claims))


def _candidates(claims: Claims) -> list[Finding]:
    unverified = [_username(claims)] if not claims.email_verified else []
    return [_audience(claims), _issuer(claims), *unverified, _issuer_ca(claims)]


def _candidate(finding: Finding) -> Finding:
    return Finding(
        finding.part, finding.sentence, finding.setting, where=finding.where, flags=finding.flags, certain=False
    )


# The words of Kubernetes' authenticator and of go-oidc, which it uses.
_WORDS: Final = (
    (re.compile(r"expected audience"), Part.AUDIENCE),
    (re.compile(r"token is expired|before the nbf"), Part.CLOCK),
    (re.compile(r"x509|certificate|authenticator not initialized|fetching keys|get keys failed"), Part.CA),
    (re.compile(r"verify signature|signing alg|unsupported algorithm"), Part.KEYS),
    (re.compile(r"email not verified|parse username|username claim|claim not present"), Part.USERNAME),
    (re.compile(r"different provider"), Part.ISSUER),
)


def _named(claims: Claims, said: str, late: Finding | None) -> Finding:
    part = next((part for words, part in _WORDS if words.search(said)), None)
    match part:
        case Part.AUDIENCE:
            expected = re.search(r"expected audience (?:in )?(.*?) got", said)
            return _audience(claims, expected[1].replace('\\"', '"') if expected else "")
        case Part.CLOCK:
            return late or Finding(
                Part.CLOCK,
                f"The API server says that the token is not valid at this time ({_last(said)}). The clocks of the API "
                "server, the gate and the issuer must agree.",
                "run NTP (chrony, systemd-timesyncd) on the control-plane nodes and on the gate's",
                where="the machines",
            )
        case Part.CA:
            return _issuer_ca(claims, _last(said))
        case Part.KEYS:
            return _keys(claims, _last(said))
        case Part.USERNAME:
            return _username(claims, _last(said))
        case _:  # no authenticator has this issuer, so that none has anything to say
            return _issuer(claims)


def _last(said: str) -> str:
    """What is left of an error without the list around it and the layers that handed it on."""
    return said.strip("[]").rpartition("invalid bearer token, ")[2].removeprefix("oidc: ")


def _clock(skew: float | None) -> Finding | None:
    if skew is None or abs(skew) <= MOST_SKEW:
        return None
    return Finding(
        Part.CLOCK,
        f"The API server's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the gate's, so that it "
        "takes good tokens for expired, or for not valid yet. It gives no leeway.",
        "run NTP (chrony, systemd-timesyncd) on the control-plane nodes and on the gate's",
        where="the machines",
    )


def _issuer(claims: Claims) -> Finding:
    return Finding(
        Part.ISSUER,
        f"The token is from the issuer {claims.issuer}. The API server must know exactly this address: scheme, port, "
        "path and a slash at the end included.",
        authentication(claims),
        flags=f"--oidc-issuer-url={claims.issuer}",
    )


def _audience(claims: Claims, expected: str = "") -> Finding:
    ours = ", ".join(claims.audience)
    known = f" It accepts {expected}." if expected else ""
    return Finding(
        Part.AUDIENCE,
        f"The token is for the audience {ours}. The API server must accept that one.{known}",
        authentication(claims),
        flags=f"--oidc-client-id={claims.audience[0] if claims.audience else ''}",
    )


def _username(claims: Claims, said: str = "") -> Finding:
    reason = f" ({said})" if said else ""
    mail = "is not verified" if claims.email else "is missing"
    return Finding(
        Part.USERNAME,
        f"The API server cannot make a user name of this token{reason}: its email {mail}. Let the issuer verify it, or "
        "let the API server use another claim.",
        authentication(claims, username="sub"),
        flags="--oidc-username-claim=sub",
    )


def _issuer_ca(claims: Claims, said: str = "") -> Finding:
    reason = f" ({said})" if said else ""
    return Finding(
        Part.CA,
        f"The API server must reach {claims.issuer}/.well-known/openid-configuration itself, and trust its "
        f"certificate{reason}.",
        authentication(claims, ca=True),
        flags="--oidc-ca-file=/etc/kubernetes/pki/issuer-ca.crt",
    )


def _keys(claims: Claims, said: str) -> Finding:
    return Finding(
        Part.KEYS,
        f"The token's signature does not fit the keys that the API server has of {claims.issuer} ({said}). Does that "
        "address lead it to the same issuer, and does it accept the algorithm?",
        authentication(claims),
        flags=f"--oidc-issuer-url={claims.issuer} --oidc-signing-algs=RS256,ES256",
    )


def authentication(claims: Claims, *, username: str = EMAIL_SUGGESTED, ca: bool = False) -> str:
    """The API server's configuration that takes a token: its issuer and audience, exactly."""
    issuer: dict[str, Any] = {"url": claims.issuer, "audiences": list(claims.audience)}
    if len(claims.audience) > 1:
        issuer["audienceMatchPolicy"] = "MatchAny"
    if ca:
        issuer["certificateAuthority"] = "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n"
    mappings = {"username": {"claim": username, "prefix": ""}, "groups": {"claim": "groups", "prefix": ""}}
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{"issuer": issuer, "claimMappings": mappings}],
    }
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=200)
    return text


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
        "kubectl create clusterrole oidcgate-impersonate --verb=impersonate --resource=users,groups\n",
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
