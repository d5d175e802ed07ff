"""What an administrator applies: objects that RBAC takes, for exactly the names that the API server uses."""

from typing import Any

import pytest
import yaml

from oidcgate.kube.bindings import ROLES, Subject, binding, grant
from oidcgate.kube.reviews import Permission

SHOP = Subject("Group", "oidc:team-shop")
BOB = Subject("User", "https://dex.example.com/dex#Bob's: {x}")


def documents(text: str) -> list[dict[str, Any]]:
    """The objects of a YAML text."""
    return list(yaml.safe_load_all(text))


@pytest.mark.parametrize("subject", [SHOP, BOB])
@pytest.mark.parametrize("role", ROLES)
def test_binding(subject: Subject, role: str) -> None:
    """One object, in a namespace or for all; names come through YAML as they are."""
    (inside,) = documents(binding(subject, role, "shop"))
    (everywhere,) = documents(binding(subject, role, ""))
    assert (inside["kind"], inside["metadata"]["namespace"]) == ("RoleBinding", "shop")
    assert (everywhere["kind"], "namespace" in everywhere["metadata"]) == ("ClusterRoleBinding", False)
    for found in (inside, everywhere):
        assert found["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
        assert found["subjects"] == [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": subject.kind, "name": subject.name}
        ]
        assert found["metadata"]["name"].startswith(f"oidcgate-{role}-")
        assert found["metadata"]["name"].replace("-", "").isalnum()


def test_grant_in_a_namespace() -> None:
    """A Role with the one permission, and its binding beside it."""
    role, bound = documents(grant(SHOP, Permission("get", "services/proxy", namespace="shop", name="ui")))
    assert (role["kind"], role["metadata"]["namespace"]) == ("Role", "shop")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["get"], "resourceNames": ["ui"]}
    ]
    assert (bound["kind"], bound["metadata"]["namespace"]) == ("RoleBinding", "shop")
    assert bound["roleRef"]["kind"] == "Role"
    assert bound["roleRef"]["name"] == role["metadata"]["name"]


def test_grant_everywhere() -> None:
    """Without a namespace both are the cluster's."""
    role, bound = documents(grant(SHOP, Permission("list", "deployments", group="apps")))
    assert (role["kind"], bound["kind"]) == ("ClusterRole", "ClusterRoleBinding")
    assert role["rules"] == [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list"]}]


def test_long_names() -> None:
    """An object's name stays within what RBAC takes."""
    (found,) = documents(binding(Subject("Group", "g" * 1000), "view", "shop"))
    assert len(found["metadata"]["name"]) <= 253
    assert found["subjects"][0]["name"] == "g" * 1000
    assert str(SHOP) == "Group oidc:team-shop"
