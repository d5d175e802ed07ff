"""The rules: who may do what."""

import pytest

from oidcgate.demo.ui.rbac import DEFAULT_RULES, Rule, allows, denial
from oidcgate.demo.ui.token import Caller


def caller(*groups: str) -> Caller:
    """Somebody in `groups`."""
    return Caller("bob@example.com", groups, "subject", 0, 0)


CASES = {
    "admins delete": (("platform-admins",), "delete", "pods", "payments", True),
    "admins list the cluster": (("platform-admins",), "list", "namespaces", "", True),
    "shop lists its pods": (("team-shop",), "list", "pods", "shop", True),
    "shop reads its logs": (("team-shop",), "get", "pods/log", "shop", True),
    "shop opens a shell": (("team-shop",), "create", "pods/exec", "shop", True),
    "shop does not delete": (("team-shop",), "delete", "pods", "shop", False),
    "shop stays in its namespace": (("team-shop",), "list", "pods", "payments", False),
    "shop does not list the cluster": (("team-shop",), "list", "pods", "", False),
    "shop does not list namespaces": (("team-shop",), "list", "namespaces", "", False),
    "others nothing": (("team-blue",), "get", "pods", "shop", False),
    "no groups nothing": ((), "get", "pods", "shop", False),
    "one of several groups is enough": (("team-blue", "team-shop"), "get", "pods", "shop", True),
    "a group's name is compared exactly": (("Platform-Admins",), "get", "pods", "shop", False),
}


@pytest.mark.parametrize(("groups", "verb", "resource", "namespace", "allowed"), CASES.values(), ids=CASES)
def test_default_rules(groups: tuple[str, ...], verb: str, resource: str, namespace: str, allowed: bool) -> None:
    """The demo's two groups may what they should, and nobody else anything."""
    assert allows(DEFAULT_RULES, caller(*groups), verb, resource, namespace) is allowed


def test_an_empty_namespace_in_a_rule_is_not_the_cluster() -> None:
    """Only `*` reaches the whole cluster."""
    assert not allows([Rule("g", namespaces=("",))], caller("g"), "list", "pods", "")


DENIALS = {
    "namespaced": (
        ("list", "pods", "shop", ""),
        'pods is forbidden: User "bob@example.com" cannot list resource "pods" in API group "" in the namespace "shop"',
    ),
    "named": (
        ("delete", "pods", "shop", "x"),
        'pods "x" is forbidden: User "bob@example.com" cannot delete resource "pods" '
        'in API group "" in the namespace "shop"',
    ),
    "subresource": (
        ("create", "pods/exec", "shop", "x"),
        'pods "x" is forbidden: User "bob@example.com" cannot create resource "pods/exec" '
        'in API group "" in the namespace "shop"',
    ),
    "cluster": (
        ("list", "namespaces", "", ""),
        'namespaces is forbidden: User "bob@example.com" cannot list resource "namespaces" '
        'in API group "" at the cluster scope',
    ),
}


@pytest.mark.parametrize(("what", "message"), DENIALS.values(), ids=DENIALS)
def test_denial_is_the_api_servers_sentence(what: tuple[str, str, str, str], message: str) -> None:
    """The words are kube-apiserver's own."""
    assert denial(caller(), *what) == message
