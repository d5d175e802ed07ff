"""
Who may do what in the demo cluster. Pure.

Kubernetes' model in small: nothing is allowed unless a rule says so; a rule binds a group to verbs on
resources in namespaces. An empty namespace stands for the whole cluster, and only a rule with namespaces `*`
reaches it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from oidcgate.demo.ui.token import Caller

ALL: Final = ("*",)


@dataclass(frozen=True, slots=True)
class Rule:
    """
    `group` may do `verbs` on `resources` (`pods`, `pods/log`, ...) in `namespaces`; `*` stands for every one.
    """

    group: str
    verbs: tuple[str, ...] = ALL
    resources: tuple[str, ...] = ALL
    namespaces: tuple[str, ...] = ALL

    def covers(self, verb: str, resource: str, namespace: str) -> bool:
        """True if this rule allows `verb` on `resource` in `namespace` ('' = cluster-wide)."""
        return (
            _named(verb, self.verbs)
            and _named(resource, self.resources)
            and ("*" in self.namespaces or (namespace != "" and namespace in self.namespaces))
        )


DEFAULT_RULES: Final = (
    Rule("platform-admins"),
    Rule("team-shop", ("get", "list"), ("pods", "pods/log"), ("shop",)),
    Rule("team-shop", ("create",), ("pods/exec",), ("shop",)),
)


def _named(word: str, words: tuple[str, ...]) -> bool:
    return "*" in words or word in words


def allows(rules: Iterable[Rule], caller: Caller, verb: str, resource: str, namespace: str = "") -> bool:
    """True if a rule of one of the caller's groups covers the request."""
    return any(rule.group in caller.groups and rule.covers(verb, resource, namespace) for rule in rules)


def denial(caller: Caller, verb: str, resource: str, namespace: str = "", name: str = "") -> str:
    """kube-apiserver's own sentence for a forbidden request, word for word."""
    subject = f'{resource.partition("/")[0]} "{name}"' if name else resource
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    return (
        f'{subject} is forbidden: User "{caller.username}" cannot {verb} resource "{resource}" in API group "" {where}'
    )
