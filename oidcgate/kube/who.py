"""
Somebody as an API server sees them: what its answer to a SelfSubjectReview means.

Pure but for the client's exception.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from oidcgate.config.model import Kubernetes
from oidcgate.kube import diagnosis
from oidcgate.kube.client import Answer, ClusterUnreachable
from oidcgate.kube.diagnosis import Finding
from oidcgate.kube.refusal import of_refusal
from oidcgate.kube.reviews import ANONYMOUS, Person, UnusableReview, read_person
from oidcgate.oidc.claims import Claims

GOOD: Final = (200, 201)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Who:
    """
    Somebody as an API server sees them.

    Attributes:
        person: None when it does not tell.
        findings: what does not fit, or may not.
        is_refused: whether it takes nothing from them.
    """

    person: Person | None = None
    findings: tuple[Finding, ...] = ()
    is_refused: bool = False


def read_who(answer: Answer, claims: Claims, kubernetes: Kubernetes, *, now: float, said: str | None = None) -> Who:
    """
    What the answer to a person's own token means.

    Args:
        now: when it came, by the gate's clock (seconds since the epoch).
        said: the error of a TokenReview of that token; None = nobody could ask.

    Raises:
        ClusterUnreachable: the answer is unusable.
    """
    if answer.status in GOOD:
        return _known(usable(read_person, answer.body), claims, kubernetes)
    if answer.status == 401:
        skew = None if answer.date is None else answer.date - now
        return Who(findings=of_refusal(claims, skew=skew, said=said), is_refused=True)
    if answer.status == 403:
        return _without_role(answer, kubernetes.api)
    return Who(findings=(diagnosis.of_unexpected(answer.status, answer.message),))


def read_impersonated(answer: Answer, claims: Claims, kubernetes: Kubernetes) -> Who:
    """
    What the answer means where the gate asks with a credential of its own, for the person.

    Raises:
        ClusterUnreachable: the answer is unusable.
    """
    if answer.status in (401, 403):
        return Who(findings=(diagnosis.of_credential(answer.status, answer.message),), is_refused=True)
    return read_who(answer, claims, kubernetes, now=0.0)


def _known(person: Person, claims: Claims, kubernetes: Kubernetes) -> Who:
    if person.is_anonymous:
        return Who(person, (diagnosis.of_anonymous(kubernetes.api),))
    names = diagnosis.of_names(
        claims, person, username_prefix=kubernetes.username_prefix, groups_prefix=kubernetes.groups_prefix
    )
    return Who(person, names)


def _without_role(answer: Answer, api: str) -> Who:
    """Whoever may not even ask who they are: anonymous, or somebody whom a role was taken from."""
    named = re.search(r'User "([^"]+)"', answer.message)
    name = named[1] if named else ""
    if name == ANONYMOUS:
        return Who(Person(name), (diagnosis.of_anonymous(api),))
    return Who(Person(name) if name else None, (diagnosis.of_missing_role(name),))


def usable(read: Callable[[Mapping[str, Any]], Value], body: Mapping[str, Any]) -> Value:
    """
    What a reader makes of an answer's body.

    Raises:
        ClusterUnreachable: it is no such review.
    """
    try:
        return read(body)
    except UnusableReview as error:
        raise ClusterUnreachable(f"the answer is unusable: {error}", "reply") from None
