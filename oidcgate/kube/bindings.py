"""
What an administrator applies so that somebody may do something: bindings as YAML, and the role where none fits.

Pure. Names of people and groups are those that the API server uses, prefixes included.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

import yaml

from oidcgate.kube.reviews import Permission

API: Final = "rbac.authorization.k8s.io"
ROLES: Final = ("view", "edit", "admin", "cluster-admin")  # that every cluster has
LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a binding is for."""

    kind: str  # User or Group
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def binding(subject: Subject, role: str, namespace: str) -> str:
    """Gives a subject one of the roles that every cluster has, in one namespace; without one, everywhere."""
    return _yaml(_binding(subject, "ClusterRole", role, namespace, f"oidcgate-{role}-{subject.name}"))


def grant(subject: Subject, permission: Permission) -> str:
    """Gives a subject one permission, by a role of its own."""
    name = _name(f"oidcgate-{permission.verb}-{permission.resource}")
    kind = "Role" if permission.namespace else "ClusterRole"
    rule: dict[str, Any] = {
        "apiGroups": [permission.group],
        "resources": [permission.resource],
        "verbs": [permission.verb],
    }
    if permission.name:
        rule["resourceNames"] = [permission.name]
    role = {"apiVersion": f"{API}/v1", "kind": kind, "metadata": _metadata(name, permission.namespace), "rules": [rule]}
    return _yaml(role, _binding(subject, kind, name, permission.namespace, f"{name}-{subject.name}"))


def _binding(subject: Subject, role_kind: str, role: str, namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{API}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": _metadata(_name(name), namespace),
        "roleRef": {"apiGroup": API, "kind": role_kind, "name": role},
        "subjects": [{"apiGroup": API, "kind": subject.kind, "name": subject.name}],
    }


def _metadata(name: str, namespace: str) -> dict[str, str]:
    return {"name": name, "namespace": namespace} if namespace else {"name": name}


def _name(text: str) -> str:
    """A text as an object's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:LONGEST_NAME]


def _yaml(*documents: dict[str, Any]) -> str:
    text: str = yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=200)
    return text
