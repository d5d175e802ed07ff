"""
The reviews that an API server answers: who somebody is there, whether they may do one thing, and all that they may do.

Pure. Bodies are made and read here and sent elsewhere. Rules of this file:
- An answer that lacks what a review is about is no answer; what else is missing is empty.
- ``Self…`` reviews are about whoever asks; everybody who is signed in may ask (the role system:basic-user).

Sources: the API groups authentication.k8s.io/v1 and authorization.k8s.io/v1.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

AUTHENTICATION: Final = "authentication.k8s.io/v1"
AUTHORIZATION: Final = "authorization.k8s.io/v1"
SELF_PATH: Final = f"/apis/{AUTHENTICATION}/selfsubjectreviews"
TOKEN_PATH: Final = f"/apis/{AUTHENTICATION}/tokenreviews"
SELF_ACCESS_PATH: Final = f"/apis/{AUTHORIZATION}/selfsubjectaccessreviews"
SELF_RULES_PATH: Final = f"/apis/{AUTHORIZATION}/selfsubjectrulesreviews"
ANONYMOUS: Final = "system:anonymous"
SYSTEM: Final = "system:"  # begins the names that the cluster itself gives


class UnusableReview(ValueError):
    """An answer that is not the review that was asked for."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as the API server sees them, prefixes included."""

    username: str
    groups: tuple[str, ...] = ()
    uid: str = ""

    @property
    def is_anonymous(self) -> bool:
        """Whether no token arrived."""
        return self.username == ANONYMOUS

    @property
    def own_groups(self) -> tuple[str, ...]:
        """The groups that the provider gave, without those that the cluster adds."""
        return tuple(group for group in self.groups if not group.startswith(SYSTEM))


@dataclass(frozen=True, slots=True)
class Permission:
    """One thing that somebody may do; an empty namespace means everywhere, an empty name all of them."""

    verb: str
    resource: str  # or resource/subresource
    group: str = ""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        group = f".{self.group}" if self.group else ""
        resource, slash, part = self.resource.partition("/")
        name = f" {self.name!r}" if self.name else ""
        where = f"in namespace {self.namespace!r}" if self.namespace else "everywhere"
        return f"{self.verb} {resource}{group}{slash}{part}{name} {where}"

    def attributes(self) -> dict[str, str]:
        """As ``resourceAttributes``; what is empty is left out."""
        resource, _, part = self.resource.partition("/")
        values = {
            "verb": self.verb,
            "group": self.group,
            "resource": resource,
            "subresource": part,
            "namespace": self.namespace,
            "name": self.name,
        }
        return {key: value for key, value in values.items() if value}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether somebody may do what was asked about, and what the authorizer says to that."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """Verbs on resources, or on addresses; no names means all of them."""

    verbs: tuple[str, ...]
    resources: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """All that somebody may do in a namespace, as far as the authorizers can list it."""

    resources: tuple[Rule, ...] = ()
    addresses: tuple[Rule, ...] = ()
    incomplete: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class TokenVerdict:
    """What an API server says of somebody else's token."""

    authenticated: bool
    error: str = ""


# What is sent.


def self_review() -> dict[str, Any]:
    """Who am I?"""
    return {"apiVersion": AUTHENTICATION, "kind": "SelfSubjectReview"}


def token_review(token: str) -> dict[str, Any]:
    """What is wrong with this token? The one who asks needs the role system:auth-delegator."""
    return {"apiVersion": AUTHENTICATION, "kind": "TokenReview", "spec": {"token": token}}


def self_access_review(permission: Permission) -> dict[str, Any]:
    """May I do this?"""
    spec = {"resourceAttributes": permission.attributes()}
    return {"apiVersion": AUTHORIZATION, "kind": "SelfSubjectAccessReview", "spec": spec}


def self_rules_review(namespace: str) -> dict[str, Any]:
    """What may I do in a namespace?"""
    return {"apiVersion": AUTHORIZATION, "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}


# What comes back.


def read_person(body: Mapping[str, Any]) -> Person:
    """
    Who a SelfSubjectReview says it is.

    Raises:
        UnusableReview: it says nothing.
    """
    info = _status(body, "SelfSubjectReview").get("userInfo")
    if not isinstance(info, Mapping) or not isinstance(info.get("username"), str):
        raise UnusableReview("a SelfSubjectReview without userInfo")
    uid = info.get("uid")
    return Person(info["username"], _texts(info.get("groups")), uid if isinstance(uid, str) else "")


def read_verdict(body: Mapping[str, Any]) -> Verdict:
    """
    What a SelfSubjectAccessReview or a SubjectAccessReview says; only a plain yes is one.

    Raises:
        UnusableReview: it says nothing.
    """
    status = _status(body, "SelfSubjectAccessReview", "SubjectAccessReview")
    if not isinstance(status.get("allowed"), bool):
        raise UnusableReview("an access review without a verdict")
    said = [status.get("reason"), status.get("evaluationError")]
    return Verdict(
        status["allowed"] and not status.get("denied"), "; ".join(text for text in said if isinstance(text, str))
    )


def read_rules(body: Mapping[str, Any]) -> Rules:
    """
    What a SelfSubjectRulesReview lists, rules that say the same of several resources together.

    Raises:
        UnusableReview: it lists nothing.
    """
    status = _status(body, "SelfSubjectRulesReview")
    error = status.get("evaluationError")
    return Rules(
        resources=_merged(
            Rule(
                _texts(each.get("verbs")),
                resources=_texts(each.get("resources")),
                groups=_texts(each.get("apiGroups")),
                names=_texts(each.get("resourceNames")),
            )
            for each in _objects(status.get("resourceRules"))
        ),
        addresses=_merged(
            Rule(_texts(each.get("verbs")), addresses=_texts(each.get("nonResourceURLs")))
            for each in _objects(status.get("nonResourceRules"))
        ),
        incomplete=status.get("incomplete") is True,
        error=error if isinstance(error, str) else "",
    )


def read_token_verdict(body: Mapping[str, Any]) -> TokenVerdict:
    """
    What a TokenReview says.

    Raises:
        UnusableReview: it says nothing.
    """
    status = _status(body, "TokenReview")
    error = status.get("error")
    return TokenVerdict(status.get("authenticated") is True, error if isinstance(error, str) else "")


def _status(body: Mapping[str, Any], *kinds: str) -> Mapping[str, Any]:
    status = body.get("status")
    if body.get("kind") not in kinds or not isinstance(status, Mapping):
        raise UnusableReview(f"expected {kinds[0]}, got {str(body.get('kind'))[:80]!r}")
    return status


def _texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _merged(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """RBAC lists each binding's rules, so that most stand there several times."""
    return tuple(dict.fromkeys(rules))
