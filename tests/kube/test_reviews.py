"""Reviews as they are sent, and what is read out of the answers of a real API server and of things that are none."""

from typing import Any

import pytest

from oidcgate.kube.reviews import (
    Permission,
    Person,
    Rule,
    Rules,
    TokenVerdict,
    UnusableReview,
    Verdict,
    read_person,
    read_rules,
    read_token_verdict,
    read_verdict,
    self_access_review,
    self_review,
    self_rules_review,
    token_review,
)

READERS = (read_person, read_verdict, read_rules, read_token_verdict)
ALICE = Person("oidc:alice@example.com", ("oidc:platform-admins", "system:authenticated"))


@pytest.mark.parametrize(
    ("permission", "attributes", "said"),
    [
        (Permission("list", "pods"), {"verb": "list", "resource": "pods"}, "list pods everywhere"),
        (
            Permission("get", "services/proxy", namespace="shop", name="ui"),
            {"verb": "get", "resource": "services", "subresource": "proxy", "namespace": "shop", "name": "ui"},
            "get services/proxy 'ui' in namespace 'shop'",
        ),
        (
            Permission("patch", "deployments/scale", group="apps"),
            {"verb": "patch", "group": "apps", "resource": "deployments", "subresource": "scale"},
            "patch deployments.apps/scale everywhere",
        ),
    ],
)
def test_permission(permission: Permission, attributes: dict[str, str], said: str) -> None:
    """What is empty is not sent: to an API server it means all of them."""
    assert permission.attributes() == attributes
    assert str(permission) == said
    sent = self_access_review(permission)
    assert (sent["kind"], sent["spec"]) == ("SelfSubjectAccessReview", {"resourceAttributes": attributes})


def test_what_is_sent() -> None:
    """Each review names its API and says no more than it must."""
    assert self_review() == {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    assert token_review("t")["spec"] == {"token": "t"}
    assert self_rules_review("shop")["spec"] == {"namespace": "shop"}


def test_a_person() -> None:
    """User and groups as the API server calls them; what the cluster adds is told from what the provider gave."""
    info = {"username": ALICE.username, "groups": list(ALICE.groups)}
    person = read_person({"kind": "SelfSubjectReview", "status": {"userInfo": info}})
    assert person == ALICE
    assert person.own_groups == ("oidc:platform-admins",)
    assert not person.is_anonymous
    anonymous = {"username": "system:anonymous", "groups": ["system:unauthenticated"], "uid": "u"}
    person = read_person({"kind": "SelfSubjectReview", "status": {"userInfo": anonymous}})
    assert (person.is_anonymous, person.own_groups, person.uid) == (True, (), "u")


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ({"allowed": True, "reason": "RBAC: allowed"}, Verdict(True, "RBAC: allowed")),
        ({"allowed": False}, Verdict(False)),
        ({"allowed": True, "denied": True}, Verdict(False)),
        ({"allowed": False, "reason": "a", "evaluationError": "b"}, Verdict(False, "a; b")),
    ],
)
def test_a_verdict(status: dict[str, Any], verdict: Verdict) -> None:
    """Only a plain yes is one."""
    for kind in ("SelfSubjectAccessReview", "SubjectAccessReview"):
        assert read_verdict({"kind": kind, "status": status}) == verdict


def test_rules() -> None:
    """Rules that stand there several times are told once; what is missing means nothing, or all."""
    pods = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["one"]}
    addresses = {"verbs": ["get"], "nonResourceURLs": ["/version"]}
    status = {"resourceRules": [pods, pods, "?"], "nonResourceRules": [addresses, addresses], "incomplete": False}
    assert read_rules({"kind": "SelfSubjectRulesReview", "status": status}) == Rules(
        (Rule(("get", "list"), resources=("pods",), groups=("",), names=("one",)),),
        (Rule(("get",), addresses=("/version",)),),
    )
    cut = {"resourceRules": None, "nonResourceRules": {}, "incomplete": True, "evaluationError": "webhook"}
    assert read_rules({"kind": "SelfSubjectRulesReview", "status": cut}) == Rules((), (), True, "webhook")


def test_a_token_verdict() -> None:
    """The error is what the TokenReview is asked for."""
    body = {"kind": "TokenReview", "status": {"user": {}, "error": "no"}}
    assert read_token_verdict(body) == TokenVerdict(False, "no")
    assert read_token_verdict({"kind": "TokenReview", "status": {"authenticated": True}}) == TokenVerdict(True)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "Status", "status": "Failure"},
        {"kind": 1, "status": {}},
        {"kind": "SelfSubjectReview"},
        {"kind": "SelfSubjectReview", "status": {}},
        {"kind": "SelfSubjectReview", "status": {"userInfo": {"username": 1}}},
        {"kind": "SelfSubjectAccessReview", "status": {"allowed": "yes"}},
        {"kind": "SelfSubjectAccessReview", "status": [True]},
    ],
)
def test_what_is_no_review(body: dict[str, Any]) -> None:
    """An answer without what the review is about is no answer to any of them."""
    for read in READERS:
        with pytest.raises(UnusableReview):
            read(body)  # type: ignore[operator]
