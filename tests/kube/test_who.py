"""What an API server's answer to "who am I" means for the person who asked."""

from typing import Any

import pytest

from oidcgate.config.model import Kubernetes
from oidcgate.kube.client import Answer, ClusterUnreachable
from oidcgate.kube.diagnosis import Part
from oidcgate.kube.who import read_impersonated, read_who
from tests.kube.support import claims

PLAIN = Kubernetes(api="https://k8s")
PREFIXED = Kubernetes(api="https://k8s", username_prefix="oidc:", groups_prefix="oidc:")


def known(name: str, *groups: str) -> Answer:
    """A SelfSubjectReview."""
    status = {"userInfo": {"username": name, "groups": list(groups)}}
    return Answer(201, {"kind": "SelfSubjectReview", "status": status})


def refused(status: int, message: str = "", date: float | None = None) -> Answer:
    """A Status."""
    return Answer(status, {"kind": "Status", "message": message}, date)


FORBIDDEN = 'x is forbidden: User "{}" cannot create resource'
ANSWERS: list[tuple[str, Answer, str | None, list[Part], bool]] = [
    # what it is, the answer, the person, the findings, whether they are refused
    ("fits", known("oidc:alice@example.com", "oidc:platform-admins"), "oidc:alice@example.com", [], False),
    ("prefix", known("alice@example.com"), "alice@example.com", [Part.PREFIX], False),
    ("anonymous", known("system:anonymous"), "system:anonymous", [Part.ANONYMOUS], False),
    ("anonymous-403", refused(403, FORBIDDEN.format("system:anonymous")), "system:anonymous", [Part.ANONYMOUS], False),
    ("no-role", refused(403, FORBIDDEN.format("oidc:x")), "oidc:x", [Part.ROLE], False),
    ("403-without-words", refused(403), None, [Part.ROLE], False),
    ("refused", refused(401, "Unauthorized"), None, [Part.AUDIENCE, Part.ISSUER, Part.CA], True),
    ("clock", refused(401, date=2000.0), None, [Part.CLOCK], True),
    ("old", refused(404), None, [Part.NETWORK], False),
    ("broken", refused(500, "etcd"), None, [Part.NETWORK], False),
]


@pytest.mark.parametrize(("name", "answer", "person", "parts", "is_refused"), ANSWERS, ids=[a[0] for a in ANSWERS])
def test_answers(name: str, answer: Answer, person: str | None, parts: list[Part], is_refused: bool) -> None:
    """Only 401 refuses somebody; all else is told where they ask for it."""
    who = read_who(answer, claims(), PREFIXED, now=1000.0)
    assert (who.person.username if who.person else None) == person
    assert [finding.part for finding in who.findings] == parts
    assert who.is_refused == is_refused


def test_with_a_token_review() -> None:
    """What the API server says itself leaves one finding."""
    who = read_who(refused(401), claims(), PLAIN, now=1000.0, said='[x, oidc: expected audience "a" got ["b"]]')
    assert [finding.part for finding in who.findings] == [Part.AUDIENCE]


@pytest.mark.parametrize("status", [401, 403])
def test_the_gate_s_own_credential(status: int) -> None:
    """Where it asks for people and is refused, the credential is to blame, and nobody gets anywhere."""
    who = read_impersonated(refused(status, "cannot impersonate"), claims(), PLAIN)
    assert who.is_refused
    assert [finding.part for finding in who.findings] == [Part.CREDENTIAL]
    who = read_impersonated(known("alice@example.com"), claims(), PLAIN)
    assert (who.is_refused, who.findings) == (False, ())


@pytest.mark.parametrize("body", [{}, {"kind": "SelfSubjectReview"}, {"kind": "Pod", "status": {}}])
def test_an_unusable_answer(body: dict[str, Any]) -> None:
    """What is no review comes from no API server."""
    with pytest.raises(ClusterUnreachable, match="unusable") as caught:
        read_who(Answer(201, body), claims(), PLAIN, now=0.0)
    assert caught.value.hop == "reply"
